/**
 * A file system that another kernel, or a program, has on its other side: NFS, the shared directories of
 * virtual machines, sshfs and others of FUSE.
 *
 * - A server on the other side does not hear a connection from this one: its socket refuses like a stale
 *   one. Its lock is not seen either, unless the file system passes locks on.
 * - So such a socket counts as alive, unless the lock file says that it was bound on this side: by the
 *   device number, which is that of this mount, and the time of the socket, because inodes are used again.
 * - Two machines can give a shared directory the same device number. If neither sees the other's locks,
 *   this cannot tell one's socket from the other's.
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

/** Whether a file could be on such a file system: none of them has a block device. */
export function mayBeShared({ dev }: Deno.FileInfo): boolean {
  // The major number, as Linux has it in 64 bits.
  return Deno.build.os === "linux" && dev < 2 ** 32 && ((dev >>> 8) & 0xfff) === 0;
}

/** A socket as this side sees it: a hash of its device, inode and time, as a lock file has it. */
export function viewOf({ dev, ino, mtime }: Deno.FileInfo): string {
  let hash = 0x811c9dc5;
  // FNV-1a, of 32 bits.
  for (const character of `${dev} ${ino} ${mtime?.getTime()}`) {
    hash = Math.imul(hash ^ character.charCodeAt(0), 0x01000193);
  }
  return (hash >>> 0).toString(36).padStart(7, "0");
}

/**
 * Whether a file is on such a file system. Only statfs(2) says so, which Deno permits with
 * `sys: ["statfs"]`. Without that it counts as shared where it has no time of birth: most file systems of a
 * machine's own record one, and most shared ones do not.
 */
export function isShared(path: string, info: Deno.FileInfo): boolean {
  if (!mayBeShared(info)) return false;
  if (!isGranted("sys", "statfs")) return info.birthtime === null;
  try {
    // Loading it takes 11 ms, and nothing else here does.
    return SHARED_TYPES.includes(builtin("node:fs").statfsSync(path).type >>> 0);
  } catch {
    // Its other side does not answer.
    return true;
  }
}
