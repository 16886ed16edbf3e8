/**
 * Calls: JSON-RPC 2.0 over a connection, typed by an interface of functions.
 *
 * - {@linkcode rpc} calls the methods of the peer, and runs methods for it. Both ends may call.
 * - {@linkcode rpcClient} connects when it is needed, and again after the server has gone.
 * - {@linkcode RpcError} is an answer with an error. {@linkcode CallInterrupted} is a call that the
 *   end of its connection has interrupted.
 * - {@linkcode RPC_CODES} has the codes of errors.
 *
 * @example A daemon and its client
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { type MethodsOf, rpc } from "@uds/uds/rpc";
 * import { assertEquals } from "@std/assert";
 *
 * interface Arithmetic {
 *   add(params: { a: number; b: number }): number;
 * }
 *
 * const methods: MethodsOf<Arithmetic> = { add: ({ a, b }) => a + b };
 * const path = `${await Deno.makeTempDir()}/arithmetic.sock`;
 * await using _server = await serve(
 *   path,
 *   (conn, { draining }) => rpc(conn, { methods, draining }).closed,
 * );
 *
 * await using client = rpc<Arithmetic>(await connect(path));
 * assertEquals(await client.call("add", { a: 1, b: 2 }), 3);
 * ```
 *
 * @module
 */

export * from "./rpc/rpc.ts";
export * from "./rpc/rpc_client.ts";
export { CallInterrupted, RpcError } from "./errors.ts";
export { RPC_CODES } from "./_internal/rpc/codes.ts";
