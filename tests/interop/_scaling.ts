/** Machines of docs/scaling.md: a path with a server, and the relay that is its end of TLS. */

import { connect, serve } from "@uds/uds";
import { assert } from "@std/assert";
import { join } from "@std/path/posix";
import { authority, type Certificate, issued } from "../_certificates.ts";
import { Process, udsCommand } from "../_cli.ts";
import { encode, Program, readAll, ROOT, type TempDir } from "../_helpers.ts";

/** Returns the block of the page that has a language and contains a text. */
export function block(language: string, having: string): string {
  const page = Deno.readTextFileSync(join(ROOT, "docs/scaling.md"));
  const blocks = page.matchAll(new RegExp(`^\`\`\`${language}\n([^]*?)^\`\`\``, "gm"));
  const found = [...blocks].map(([, text = ""]) => text).find((text) => text.includes(having));
  assert(found, `docs/scaling.md has no block of ${language} with ${having}`);
  return found;
}

/** Replaces texts of a page by those of a test. Each must be there. */
export function replaced(text: string, pairs: Record<string, string>): string {
  for (const [from, to] of Object.entries(pairs)) {
    assert(text.includes(from), `${from} is not in ${text}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

/** Returns a port on which nothing listens. */
export function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return listener.addr.port;
}

/** The certificates of a test, and what they are for. */
export interface Certificates {
  ca: Certificate;
  front: Certificate;
  client: Certificate;
  foreign: Certificate;
}

/** Makes the certificates. A `front.pem` contains its key, too. */
export async function certificates(dir: TempDir): Promise<Certificates> {
  const [ca, other] = await Promise.all([authority(dir, "ca"), authority(dir, "other")]);
  const [front, client, foreign] = await Promise.all([
    issued(dir, "front", ca),
    issued(dir, "client", ca),
    issued(dir, "foreign", other),
  ]);
  await Deno.writeTextFile(front.cert, await Deno.readTextFile(front.key), { append: true });
  return { ca, front, client, foreign };
}

/** A machine: its server answers a request with the name of the machine and the request. */
export async function machine(
  dir: TempDir,
  name: string,
  { ca, front }: Certificates,
): Promise<{ port: number; relay: Process; stack: AsyncDisposableStack }> {
  const stack = new AsyncDisposableStack();
  const path = dir.file(`${name}.sock`);
  stack.use(
    await serve(path, async (conn) => {
      const request = await readAll(conn);
      await conn.write(encode(`${name} `));
      await conn.write(request);
    }),
  );
  const line = replaced(block("text", "--client-ca"), {
    "one.pem": front.cert,
    "one.key": front.key,
    "ca.pem": ca.cert,
    "0.0.0.0:9443": "127.0.0.1:0",
    "/run/app/app.sock": path,
  });
  const relay = stack.use(new Process(udsCommand(line.trim().split(" ").slice(1))));
  await relay.stderr.until("\n");
  const port = Number(/:(\d+)\n/.exec(await relay.stderr.text())?.[1]);
  return { port, relay, stack };
}

/** Starts a program, and waits until a port of it can be reached. */
export async function listening(command: string[], port: number): Promise<Program> {
  const [name = "", ...args] = command;
  const program = new Program(name, args);
  let ended = false;
  program.status.then(() => ended = true);
  for (;;) {
    try {
      (await Deno.connect({ hostname: "127.0.0.1", port })).close();
      return program;
    } catch {
      if (ended) throw new Error(`${name} does not listen: ${await program.stderr()}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}

/** Sends a request with its end, and returns the answer. */
export async function ask(path: string, request: Uint8Array<ArrayBuffer>): Promise<Uint8Array> {
  await using conn = await connect(path);
  const [answer] = await Promise.all([
    readAll(conn),
    conn.write(request).then(() => conn.closeWrite()),
  ]);
  return answer;
}
