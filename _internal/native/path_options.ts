/** The checks that packet sockets with a path have in common. */

import type { NamedOptions } from "../../native/listen_packets.ts";
import {
  type Check,
  type Checks,
  checkSignal,
  integer,
  MAX_PACKET_BYTES,
  unchecked,
} from "../base/check.ts";
import { FILE_CHECKS } from "../path/claim_options.ts";

/** A check for each option of a socket with a path. */
export const NAMED_CHECKS: Checks<NamedOptions> = {
  path: unchecked,
  mode: FILE_CHECKS.mode,
  uid: FILE_CHECKS.uid,
  gid: FILE_CHECKS.gid,
  createDirectory: FILE_CHECKS.createDirectory,
  verifyDirectory: FILE_CHECKS.verifyDirectory,
  onPathLost: FILE_CHECKS.onPathLost,
  signal: checkSignal,
};

/** Throws unless the value is a size that packets may have. */
export const checkPacketBytes: Check = integer(1, MAX_PACKET_BYTES);
