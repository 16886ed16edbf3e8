/**
 * A file system with another kernel, or a program, on its other side: NFS, the shared directories
 * of virtual machines, sshfs and others of FUSE.
 *
 * - A server on the other side does not get a connection from this side: its socket refuses like a
 *   stale one. Its lock looks free too, unless the file system passes locks on.
 * - So such a socket counts as alive, unless the lock file records that it was bound on this side:
 *   see docs/design/file_systems.md.
 */

import { isGranted } from "../base/deno_permissions.ts";
import { builtin } from "../base/node.ts";

/** The types that statfs(2) reports of such file systems, on Linux. */
const SHARED_TYPES: readonly number[] = [
  0x65735546, // FUSE, virtiofs
  0x6969, // NFS
  0x01021997, // 9P
  0xfe534d42, // SMB2
  0xff534d42, // CIFS
  0x00c36400, // Ceph
  0x0bd00bd0, // Lustre
  0x786f4256, // VirtualBox
  0xbacbacbc, // VMware
];

/** Reports whether a file could be on such a file system: none of them has a block device. */
export function mayBeShared({ dev }: Deno.FileInfo): boolean {
  // The major number, at its place in the 64 bits of Linux.
  return Deno.build.os === "linux" && dev < 2 ** 32 && ((dev >>> 8) & 0xfff) === 0;
}

/**
 * Returns the view that this side has of a socket, as a lock file records it: a hash of the device
 * number, which is that of this mount, the inode, and the time, because inodes are used again.
 */
export function viewOf({ dev, ino, mtime }: Deno.FileInfo): string {
  let hash = 0x811c9dc5;
  // FNV-1a, of 32 bits.
  for (const character of `${dev} ${ino} ${mtime?.getTime()}`) {
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  }
  return (hash >>> 0).toString(36).padStart(7, "0");
}

/**
 * Reports whether a file is on such a file system. Only statfs(2) returns its type, which Deno
 * permits with `sys: ["statfs"]`. Without that it counts as shared if it has no time of birth: most
 * file systems of a machine's own record one, and most shared ones do not.
 */
export function isShared(path: string, info: Deno.FileInfo): boolean {
  if (!mayBeShared(info)) return false;
  if (!isGranted("sys", "statfs")) return info.birthtime === null;
  try {
    // Loaded only here, because that takes 11 ms.
    return SHARED_TYPES.includes(builtin("node:fs").statfsSync(path).type >>> 0);
  } catch {
    // Its other side does not answer.
    return true;
  }
}
