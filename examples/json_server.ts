/**
 * A daemon with methods: JSON-RPC as JSON lines. Each answer is sent as soon as it is ready.
 *
 * Terminal 1: deno run -RWN examples/json_server.ts /tmp/json.sock
 * Terminal 2: deno run -RWN examples/json_client.ts /tmp/json.sock
 */

import { json, lines, RpcError, serve, shutdownOnSignal } from "@uds/uds";
import { type MethodsOf, rpc, RPC_CODES } from "@uds/uds/rpc";

/** The methods, for the server and its clients. */
export interface Service {
  sum(numbers: number[]): number;
  sleep(params: { ms: number }): Promise<string>;
}

const methods: MethodsOf<Service> = {
  sum(numbers) {
    // Any client may have sent anything.
    if (!Array.isArray(numbers) || numbers.some((n) => typeof n !== "number")) {
      throw new RpcError("sum() takes numbers", { code: RPC_CODES.INVALID_PARAMS });
    }
    return numbers.reduce((a, b) => a + b, 0);
  },
  sleep: ({ ms }) => new Promise((resolve) => setTimeout(() => resolve(`slept ${ms} ms`), ms)),
};

const path = Deno.args[0] ?? "./json.sock";
const codec = json(lines({ maxBytes: 65536 }));
await using server = await serve(
  path,
  (conn, { draining }) => rpc(conn, { methods, codec, draining }).closed,
);
using _signals = shutdownOnSignal(server);
console.log(`listening on ${server.addr.path}`);
await server.finished;
