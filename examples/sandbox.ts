/**
 * Asks an untrusted module. It runs in a separate process with nothing but a socket. Whatever it
 * does (throw, loop endlessly, flood) costs the parent no more than one answer.
 *
 * Terminal: deno run --allow-run --allow-env=NODE_V8_COVERAGE examples/sandbox.ts
 */

import { pair } from "@uds/uds";

const MODULE = new URL("./sandbox/untrusted.ts", import.meta.url);
const TIME_LIMIT = 2000;
const SIZE_LIMIT = 64 * 1024;

/** Asks a fresh child one question. Returns its answer, or throws an error with the reason. */
async function ask(question: string): Promise<string> {
  // The limit includes loading the module.
  const signal = AbortSignal.timeout(TIME_LIMIT);
  await using child = await pair(MODULE, {
    // A clone needs these two lines. With the package from JSR they can go.
    modules: [new URL("..", import.meta.url)],
    config: new URL("../deno.json", import.meta.url),
    stderr: "null",
    grace: 0,
    signal,
  });
  await child.conn.writeText(question);
  await child.conn.closeWrite();
  const buffer = new Uint8Array(SIZE_LIMIT + 1);
  let size = 0;
  for (;;) {
    const count = await child.conn.read(buffer.subarray(size));
    if (count === null) break;
    size += count;
    if (size > SIZE_LIMIT) throw new Error(`it sent more than ${SIZE_LIMIT} bytes`);
  }
  const { code } = await child.status;
  if (signal.aborted) throw new Error(`it did not answer within ${TIME_LIMIT} ms`);
  if (code !== 0) throw new Error(`it ended with exit code ${code}`);
  return new TextDecoder().decode(buffer.subarray(0, size));
}

const questions = ["6 * 7", "throw", "loop", "flood", "secret", "2 + 2"];
for (const question of questions) {
  try {
    console.log(`${question}: ${await ask(question)}`);
  } catch (error) {
    console.log(`${question}: no answer, ${(error as Error).message}`);
  }
}
