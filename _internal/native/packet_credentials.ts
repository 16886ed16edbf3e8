/** The process at the other end of a packet socket. */

import { ConnectionClosed } from "../../errors.ts";
import { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";
import { pathOf, shownPeer } from "../connection/connection_error.ts";
import { requireLibc } from "../libc/library.ts";
import { type PeerCredentials, readCredentials } from "./credentials.ts";
import type { FdPacketSocket } from "./packet_socket.ts";

/** Returns the credentials of the peer of an open socket. */
export function packetCredentials(socket: FdPacketSocket): PeerCredentials {
  const start = `Cannot identify ${shownPeer(socket)}`;
  const context = new ErrorContext("peerCredentials", pathOf(socket), start);
  const libc = requireLibc(context);
  const { fd } = socket;
  if (fd === undefined) throw context.error(ConnectionClosed, "the socket has closed");
  try {
    return readCredentials(libc, fd);
  } catch (cause) {
    if (codeOf(cause) !== "ENODATA") throw context.fail(cause);
    const state = "the kernel notes the peer of a datagram socket only for a pair. " +
      "Use a socket of type seqpacket";
    throw context.error(Deno.errors.NotSupported, state, { cause });
  }
}
