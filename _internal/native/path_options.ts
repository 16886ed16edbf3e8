/** The checks that packet sockets with a path have in common. */

import type { ListenOptions } from "../../listener.ts";
import {
  type Check,
  type Checks,
  checkSignal,
  integer,
  MAX_PACKET_BYTES,
  oneOf,
  unchecked,
} from "../base/check.ts";
import { FILE_CHECKS } from "../path/claim_options.ts";

/**
 * Options of a packet socket that owns a path. Most of them are those of `listen()`.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode ListenOptions.path | path}: The path of the socket, or an abstract name.
 * - {@linkcode ListenOptions.onPathLost | onPathLost}: Called when the path no longer leads to this
 *   server, because its socket file was removed or replaced: once for each loss.
 * - {@linkcode ListenOptions.signal | signal}: Closes the listener, or shuts down the server.
 * - {@linkcode ClaimOptions.mode | mode}: The permission bits of the socket file, at most `0o777`,
 *   with the owner's write bit.
 * - {@linkcode ClaimOptions.uid | uid}: The user that owns the socket file.
 * - {@linkcode ClaimOptions.gid | gid}: The group of the socket file.
 * - {@linkcode ClaimOptions.createDirectory | createDirectory}: Whether to create the directory of
 *   the socket, and missing ones above it, with mode 0700.
 * - {@linkcode ClaimOptions.verifyDirectory | verifyDirectory}: Whether to reject with
 *   `InsecurePath` unless the directory of the socket is safe: no other user can put another file
 *   in the place of the socket.
 *
 * @category Packets
 */
export interface PacketPathOptions extends
  Pick<
    ListenOptions,
    | "path"
    | "mode"
    | "uid"
    | "gid"
    | "createDirectory"
    | "verifyDirectory"
    | "onPathLost"
    | "signal"
  > {
  /**
   * What to do if a socket file exists, of whatever type.
   *
   * - `"reclaim"` removes it if it is stale: no process holds its lock, and it refuses two
   *   connections, 100 ms apart.
   * - `"fail"` rejects with `SocketInUse`.
   *
   * @default {"reclaim"}
   */
  existing?: "reclaim" | "fail" | undefined;
}

/** A check for each option of a socket with a path. */
export const PATH_CHECKS: Checks<PacketPathOptions> = {
  path: unchecked,
  mode: FILE_CHECKS.mode,
  uid: FILE_CHECKS.uid,
  gid: FILE_CHECKS.gid,
  createDirectory: FILE_CHECKS.createDirectory,
  verifyDirectory: FILE_CHECKS.verifyDirectory,
  existing: oneOf("reclaim", "fail"),
  onPathLost: FILE_CHECKS.onPathLost,
  signal: checkSignal,
};

/** Throws unless the value is a size that packets may have. */
export const checkPacketBytes: Check = integer(1, MAX_PACKET_BYTES);
