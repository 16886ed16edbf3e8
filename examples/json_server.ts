/**
 * A request server: numbered requests as JSON lines. Each answer is sent as soon as it is ready.
 *
 * Terminal 1: deno run -RWN examples/json_server.ts /tmp/json.sock
 * Terminal 2: deno run -RWN examples/json_client.ts /tmp/json.sock
 */

import { json, lines, messages, serve, shutdownOnSignal } from "@uds/uds";

interface Request {
  id: number;
  method: string;
  params: number[];
}

const METHODS: Record<string, (...params: number[]) => unknown> = {
  sum: (...numbers) => numbers.reduce((a, b) => a + b, 0),
  sleep: (ms = 0) => new Promise((resolve) => setTimeout(() => resolve(`slept ${ms} ms`), ms)),
};

/** Returns a checked request. Any client may have sent anything. */
function parse(value: unknown): Request {
  const { id, method, params } = value as Partial<Request>;
  if (!Number.isSafeInteger(id) || typeof method !== "string" || !Array.isArray(params)) {
    throw new TypeError("a request has id, method and params");
  }
  return { id: id!, method, params };
}

const path = Deno.args[0] ?? "./json.sock";
await using server = await serve(path, async (conn, { draining }) => {
  await using client = messages(conn, json<unknown>(lines({ maxBytes: 65536 })), { draining });
  const running = new Set<Promise<void>>();
  for await (const message of client) {
    const { id, method, params } = parse(message);
    const answer = (async () => {
      try {
        if (!Object.hasOwn(METHODS, method)) throw new Error(`there is no method "${method}"`);
        await client.send({ id, result: await METHODS[method]!(...params) });
      } catch (error) {
        await client.send({ id, error: (error as Error).message });
      }
    })().catch(() => {}); // The client has gone, so its loop ends as well.
    running.add(answer);
    answer.finally(() => running.delete(answer));
    // A client with 100 unanswered requests must wait.
    if (running.size >= 100) await Promise.race(running);
  }
  await Promise.all(running);
});
using _signals = shutdownOnSignal(server);
console.log(`listening on ${server.addr.path}`);
await server.finished;
