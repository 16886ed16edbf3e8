/**
 * Unix domain sockets for Deno: servers that own their path, clients, whole messages, typed calls,
 * and child processes on a socket of their own.
 *
 * - {@linkcode serve} and {@linkcode listen}: a server on a path that it owns.
 * - {@linkcode shutdownOnSignal}: a graceful end at Ctrl-C and `SIGTERM`.
 * - {@linkcode connect}: a client, with a deadline and clear refusals.
 * - {@linkcode pair}: a child process on a socket without a path; a module in a sandbox.
 *   {@linkcode inherited} is that socket in the child. {@linkcode socketpair} has both ends.
 * - {@linkcode Connection}: what all of these use: bytes in each direction, in order, with
 *   half-close.
 * - {@linkcode messages}: whole messages over a connection: frames, lines, JSON, or a codec of your
 *   own.
 * - {@linkcode relay}: passes everything on between two connections.
 * - {@linkcode claim}: owns the path for `Deno.serve` or `node:http`.
 * - {@linkcode probe}: reports what is at a path.
 * - {@linkcode permissions}: the Deno permissions of each of these; {@linkcode runtimePath}: a good
 *   place for a socket.
 *
 * These modules load only where you import them:
 *
 * - {@linkcode [child] | @uds/uds/child}: `inherited()` alone, for a child that starts sooner.
 * - {@linkcode [rpc] | @uds/uds/rpc}: `rpc()` calls methods by JSON-RPC, both ways; `rpcClient()`
 *   also reconnects.
 * - {@linkcode [pool] | @uds/uds/pool}: `pool()` runs the methods of a module in child processes,
 *   on all cores.
 * - {@linkcode [workers] | @uds/uds/workers}: `serveWorkers()` serves one path by several
 *   processes.
 * - {@linkcode [systemd] | @uds/uds/systemd}: `listenFds()`, `notify()` and `watchdog()`.
 * - {@linkcode [native] | @uds/uds/native}: identity of clients, descriptors, packets, with
 *   `--allow-ffi`.
 *
 * @example An echo server and its client
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/echo.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await conn.readable.pipeTo(conn.writable);
 * });
 *
 * await using conn = await connect(path);
 * await conn.writeText("This is the message.");
 * await conn.closeWrite();
 * const answer = await new Response(conn.readable).text();
 * assertEquals(answer, "This is the message.");
 * ```
 *
 * @module
 */

// The documentation lists these before all others, in this order.
export { serve } from "./server.ts";
export { connect } from "./client.ts";
export { messages } from "./framing.ts";
export { pair } from "./pair.ts";
export { claim } from "./claim.ts";

export * from "./server.ts";
export * from "./client.ts";
export * from "./pair.ts";
export * from "./connection.ts";
export * from "./relay.ts";
export * from "./framing.ts";
export * from "./claim.ts";
export * from "./probe.ts";
export * from "./address.ts";
export * from "./permissions.ts";
export * from "./runtime_path.ts";
export * from "./errors.ts";
export * from "./shutdown_on_signal.ts";
