/**
 * The process at the other end of a socket, as the kernel noted it: `SO_PEERCRED` and
 * `SO_PEERGROUPS` of unix(7). macOS: `LOCAL_PEERCRED` and `LOCAL_PEERPID` of sys/un.h, not run.
 */

import {
  IS_MAC,
  LOCAL_PEERCRED,
  LOCAL_PEERPID,
  SO_PEERCRED,
  SO_PEERGROUPS,
  SOL_LOCAL,
  SOL_SOCKET,
} from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import { UCRED, XUCRED } from "../libc/layouts.ts";
import type { Libc } from "../libc/library.ts";
import { fixedMemory } from "../libc/memory.ts";

/**
 * The process at the other end of a connection, as the kernel noted it.
 *
 * @category Identity
 */
export interface PeerCredentials {
  /**
   * The number of the process; `null` if it is in a namespace that this process cannot see. The
   * process may have exited, and its number may be another process's by now: see
   * {@linkcode peerProcess}.
   */
  readonly pid: number | null;
  /** Its effective user. A user that this process's user namespace does not have is 65534. */
  readonly uid: number;
  /** Its effective group; 65534 as for `uid`. */
  readonly gid: number;
  /** Its supplementary groups, in the kernel's order. */
  readonly groups: readonly number[];
}

/** Enough for 1,024 groups. The kernel allows 65,536 (`NGROUPS_MAX` of linux/limits.h). */
const USUAL_BYTES = 4096;
const MAX_BYTES = 4 * 65536;

let memory = fixedMemory(USUAL_BYTES);
const length = new Uint32Array(new ArrayBuffer(4));

/** Reads an option into the memory, and returns it. Throws the failure of the system. */
function read(libc: Libc, fd: number, level: number, option: number): DataView {
  length[0] = memory.length;
  if (libc.getsockopt(fd, level, option, memory, length) < 0) {
    // ERANGE: the number of bytes that are needed was written.
    if (length[0]! <= memory.length || memory.length === MAX_BYTES) throw lastFailure(libc);
    memory = fixedMemory(MAX_BYTES);
    return read(libc, fd, level, option);
  }
  return new DataView(memory.buffer, 0, length[0]);
}

/** Returns the credentials of the peer. Throws the failure of the system. */
export function readCredentials(libc: Libc, fd: number): PeerCredentials {
  if (IS_MAC) return readMacCredentials(libc, fd);
  const own = read(libc, fd, SOL_SOCKET, SO_PEERCRED);
  const pid = own.getInt32(UCRED.pid, true);
  const [uid, gid] = [own.getUint32(UCRED.uid, true), own.getUint32(UCRED.gid, true)];
  const groups = read(libc, fd, SOL_SOCKET, SO_PEERGROUPS);
  return { pid: pid === 0 ? null : pid, uid, gid, groups: numbersIn(groups, 0) };
}

function readMacCredentials(libc: Libc, fd: number): PeerCredentials {
  const own = read(libc, fd, SOL_LOCAL, LOCAL_PEERCRED);
  const uid = own.getUint32(XUCRED.cr_uid, true);
  const end = XUCRED.cr_groups + 4 * own.getInt16(XUCRED.cr_ngroups, true);
  const [gid = uid, ...groups] = numbersIn(own, XUCRED.cr_groups, end);
  const pid = read(libc, fd, SOL_LOCAL, LOCAL_PEERPID).getInt32(0, true);
  return { pid: pid === 0 ? null : pid, uid, gid, groups };
}

/** Returns the 32-bit numbers in a part of the memory. */
function numbersIn(view: DataView, from: number, end = view.byteLength): number[] {
  const numbers = [];
  for (let i = from; i < end; i += 4) numbers.push(view.getUint32(i, true));
  return numbers;
}

/** Reports whether two peers have the same credentials. */
export function isSamePeer(a: PeerCredentials, b: PeerCredentials): boolean {
  return a.pid === b.pid && a.uid === b.uid && a.gid === b.gid &&
    a.groups.length === b.groups.length && a.groups.every((gid, i) => gid === b.groups[i]);
}
