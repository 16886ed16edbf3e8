/** Who is at the other end of a connection. */

import type { Connection } from "../connection.ts";
import { checkArguments, show } from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { transportOf } from "../_internal/connection/socket_connection.ts";
import { SO_PEERCRED } from "../_internal/libc/constants.ts";
import { requireLibc } from "../_internal/libc/library.ts";
import { readOption } from "../_internal/libc/socket_option.ts";
import { descriptorOf } from "../_internal/native/noted.ts";

/** The process at the other end of a connection, as it was when it connected. */
export interface PeerCredentials {
  /** The number of the process. */
  readonly pid: number;
  /** Its effective user. */
  readonly uid: number;
  /** Its effective group. */
  readonly gid: number;
}

/**
 * Returns who is at the other end of a connection.
 *
 * @param conn The connection.
 * @returns The credentials that the kernel noted when the peer connected.
 */
export function peerCredentials(conn: Connection): PeerCredentials {
  checkArguments("peerCredentials", arguments, 1, "peerCredentials(conn)");
  const transport = transportOf(conn);
  if (transport === undefined) {
    throw new TypeError(`Invalid connection: expected a Connection, got ${show(conn)}`);
  }
  const context = new ErrorContext("peerCredentials", conn.remoteAddr.path, "Cannot tell the peer");
  const libc = requireLibc(context);
  const fd = descriptorOf(transport);
  if (fd === undefined) throw context.error(Deno.errors.NotSupported, "its descriptor is unknown");
  const view = new DataView(readOption(libc, fd, SO_PEERCRED, 12).slice().buffer);
  return {
    pid: view.getInt32(0, true),
    uid: view.getUint32(4, true),
    gid: view.getUint32(8, true),
  };
}
