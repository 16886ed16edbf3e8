/** A connection between sockets that have no path. */

import type { UnixAddr } from "../../address.ts";
import {
  SocketConnection,
  type SocketConnectionOptions,
  type Transport,
} from "../connection/socket_connection.ts";

const NO_ADDR: UnixAddr = { transport: "unix", path: null };

/** Returns a connection over a transport; neither end has a name. */
export function unnamedConnection(
  transport: Transport,
  options: Pick<SocketConnectionOptions, "only" | "hasPeerExited"> = {},
): SocketConnection {
  return new SocketConnection(transport, { ...options, localAddr: NO_ADDR, remoteAddr: NO_ADDR });
}
