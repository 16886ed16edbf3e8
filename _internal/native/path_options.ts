/** The checks that packet sockets with a path have in common. */

import type { PacketPathOptions } from "../../native/listen_packets.ts";
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
