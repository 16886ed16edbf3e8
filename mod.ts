/**
 * Unix domain sockets for Deno: own a path and serve on it, connect to one, and the care that such
 * programs need.
 *
 * - {@linkcode serve} and {@linkcode listen}: a server on a path that is its own alone.
 * - {@linkcode connect}: a client, with a deadline and clear refusals.
 * - {@linkcode Connection}: what both give: bytes, whole and in order, with half-close.
 * - {@linkcode messages}: whole messages over it: frames, lines, JSON, or a codec of your own.
 * - {@linkcode relay}: everything passed on between two connections.
 * - {@linkcode claim}: the path alone, for `Deno.serve` and `node:http`.
 * - {@linkcode probe}: what is at a path?
 * - {@linkcode permissions}, {@linkcode runtimePath}: which flags, which place.
 *
 * @example An echo server and its client
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/echo.sock`;
 * await using _server = await serve(path, (conn) => conn.readable.pipeTo(conn.writable));
 *
 * await using conn = await connect(path);
 * await conn.write(new TextEncoder().encode("This is the message."));
 * await conn.closeWrite();
 * assertEquals(await new Response(conn.readable).text(), "This is the message.");
 * ```
 *
 * @module
 */

export * from "./server.ts";
export * from "./client.ts";
export * from "./pair.ts";
export * from "./connection.ts";
export * from "./relay.ts";
export * from "./framing.ts";
export * from "./claim.ts";
export * from "./probe.ts";
export * from "./address.ts";
export * from "./errors.ts";
