/**
 * A client with several requests in flight. Each answer has the number of its request.
 *
 * Terminal 1: deno run -RWN examples/json_server.ts /tmp/json.sock
 * Terminal 2: deno run -RWN examples/json_client.ts /tmp/json.sock
 */

import { connect, json, lines, messages } from "@uds/uds";

interface Answer {
  id: number;
  result?: unknown;
  error?: string;
}

await using server = messages(
  await connect({ path: Deno.args[0] ?? "./json.sock", wait: true }),
  json<unknown>(lines({ maxBytes: 65536 })),
);

const waiting = new Map<number, PromiseWithResolvers<unknown>>();
let requests = 0;

async function ask(method: string, ...params: number[]): Promise<unknown> {
  const id = ++requests;
  const answer = Promise.withResolvers<unknown>();
  waiting.set(id, answer);
  await server.send({ id, method, params });
  return await answer.promise;
}

/** Resolves each request with its answer. */
async function listen(): Promise<void> {
  for await (const message of server) {
    const { id, result, error } = message as Answer;
    const answer = waiting.get(id);
    waiting.delete(id);
    if (error === undefined) answer?.resolve(result);
    else answer?.reject(new Error(error));
  }
  for (const { reject } of waiting.values()) {
    reject(new Error("the server has closed the connection"));
  }
}

const listening = listen();
const show = (text: string) => (result: unknown) => console.log(`${text}: ${result}`);
await Promise.all([
  ask("sleep", 100).then(show("sleep 100")),
  ask("sum", 1, 2, 3).then(show("sum 1 2 3")),
  ask("divide", 1, 0).catch((error) => console.log(`divide 1 0: no answer, ${error.message}`)),
]);
await server.closeWrite();
await listening;
