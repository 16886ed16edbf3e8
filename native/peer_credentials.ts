/** The process at the other end of a connection. */

import type { Connection } from "../connection.ts";
import { checked } from "../_internal/base/caller_stack.ts";
import { checkArguments } from "../_internal/base/check.ts";
import { checkConnection, unknownDescriptor } from "../_internal/native/checked_connection.ts";
import {
  isSamePeer,
  type PeerCredentials,
  readCredentials,
} from "../_internal/native/credentials.ts";
import { descriptorsOf } from "../_internal/native/connection_descriptors.ts";
import { packetCredentials } from "../_internal/native/packet_credentials.ts";
import { FdPacketSocket } from "../_internal/native/packet_socket.ts";
import type { PacketSocket } from "./packet_socket.ts";

export type { PeerCredentials } from "../_internal/native/credentials.ts";

/**
 * Returns the process at the other end of a connection, which the kernel vouches for.
 *
 * - **Of a client** they are those of the moment when it connected, also if it has changed its user
 *   since, passed the socket on, or exited.
 * - **Of a server** they are those of the moment when it called `listen`. With socket activation
 *   that is the service manager.
 * - **Of a socket pair** (`pair()`, `inherited()`, `socketpair()`) they are those of the process
 *   that made the pair, at both ends. The number of a child is its `pid`.
 * - **Of packets**: a `"seqpacket"` socket is like a connection. A `"dgram"` socket has a peer that
 *   the kernel knows only if it is one end of a pair.
 * - **The descriptor** of a connection of Deno's is found among all sockets of this process, and
 *   proven to be the right one. If several may be the right one, and their peers differ, the
 *   function throws. This takes another thread, or raw connections of Deno's, on the same path.
 *   Import this module before you open connections: each one is then looked at when it is opened.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 * FFI means full trust in this program.
 *
 * **Platforms**: Linux. On macOS it is written, and was not run.
 *
 * @param conn An open connection, or an open packet socket.
 * @returns The credentials of the peer.
 * @throws {TypeError} when it is not a connection or a packet socket of this package.
 * @throws {ConnectionClosed} when it has closed.
 * @throws {Deno.errors.NotSupported} when its descriptor is not known, the kernel does not know its
 * peer, or libc cannot be used.
 * @throws {Deno.errors.NotCapable} when the permission is missing.
 *
 * @example Usage
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { peerCredentials } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   const { pid, uid } = peerCredentials(conn);
 *   await conn.writeText(`process ${pid} of user ${uid}`);
 * });
 *
 * const conn = await connect(path);
 * const text = await new Response(conn.readable).text();
 * assertEquals(text, `process ${Deno.pid} of user ${Deno.uid()}`);
 * conn.close();
 * ```
 *
 * @category Identity
 */
export function peerCredentials(conn: Connection | PacketSocket): PeerCredentials {
  return checked(peerCredentials, () => {
    checkArguments("peerCredentials", arguments, 1, "peerCredentials(conn)");
    if (conn instanceof FdPacketSocket) return packetCredentials(conn);
    const { context, libc, transport } = checkConnection(
      "peerCredentials",
      "identify",
      conn as Connection,
    );
    const fds = descriptorsOf(transport);
    let peers;
    try {
      peers = fds.map((fd) => readCredentials(libc, fd));
    } catch (cause) {
      throw context.fail(cause);
    }
    const [peer, ...others] = peers;
    // It is one of these, so what they have in common is proven.
    if (peer !== undefined && others.every((other) => isSamePeer(peer, other))) return peer;
    throw unknownDescriptor(context, fds.length);
  });
}
