/** A connection between sockets that have no path. */

import type { UnixAddr } from "../../address.ts";
import { SocketConnection, type Transport } from "../connection/socket_connection.ts";

const NO_ADDR: UnixAddr = { transport: "unix", path: null };

/** Returns a connection over a transport; neither end has a name. */
export function unnamedConnection(
  transport: Transport,
  only?: "read" | "write",
): SocketConnection {
  const addresses = { localAddr: NO_ADDR, remoteAddr: NO_ADDR };
  return new SocketConnection(transport, { ...addresses, ...(only && { only }) });
}
