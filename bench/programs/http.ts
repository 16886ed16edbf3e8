/**
 * Requests to `Deno.serve`, each with 5 bytes in its response, over 16 kept connections. The word:
 * `claimed` for a path of `claim()`, or `plain`.
 */

import { counted, raw, ready, report, TASK, timed } from "./_program.ts";

const CONNECTIONS = 16;
const BODY = "hello";

if (TASK.role === "server") {
  const { promise, resolve } = Promise.withResolvers<void>();
  const open = (path: string) =>
    Deno.serve({ path, onListen() {} }, () => {
      counted.items++;
      counted.bytes += BODY.length;
      if (counted.items === TASK.warm + TASK.count) resolve();
      return new Response(BODY);
    });
  if (TASK.words.includes("claimed")) {
    const { claim } = await import("@uds/uds");
    await using owned = await claim(TASK.path, { publish: "rename" });
    await owned.bind(open);
    ready();
    await promise;
  } else {
    await using _server = open(TASK.path);
    ready();
    await promise;
  }
  report();
  Deno.exit();
}

const request = new TextEncoder().encode("GET / HTTP/1.1\r\nhost: localhost\r\n\r\n");
const body = new TextEncoder().encode(`\r\n\r\n${BODY}`);
const times: number[] = [];
const seconds = await timed(async (items) => {
  let left = items;
  times.length = 0;
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    using conn = await raw.connect();
    const buffer = new Uint8Array(1024);
    while (left-- > 0) {
      const begin = performance.now();
      await raw.write(conn, request);
      let end = 0;
      do {
        end += await conn.read(buffer.subarray(end)) ?? Infinity;
      } while (!body.every((byte, i) => buffer[end - body.length + i] === byte));
      times.push(performance.now() - begin);
      counted.items++;
      counted.bytes += BODY.length;
    }
  }));
});
times.sort((a, b) => a - b);
const at = (part: number) => times[Math.floor(part * (times.length - 1))]!;
report({ seconds, p50: at(0.5), p99: at(0.99), "p99.9": at(0.999) });
