/** Which file is at a path: the answer to "is it still mine?". */

/** What is at a path itself, symbolic links not followed; `null` where there is nothing. */
export function lstat(path: string): Deno.FileInfo | null {
  try {
    return Deno.lstatSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}

/**
 * Reports whether two descriptions are of the same file.
 *
 * - An inode number is used again soon after its file is removed, so the time of birth counts too.
 * - Some file systems record none: ramfs, FUSE, ext4 with inodes of 128 bytes, NFS. There a socket is known
 *   by the time of its last modification, which binding sets, and neither `chmod`, a new owner, a new name
 *   nor a connection changes.
 * - Writing to a regular file does change it. Ours are locks, which their holder has open, and the inode of
 *   an open file is not used again: there device and inode are enough.
 */
export function isSameFile(a: Deno.FileInfo | null, b: Deno.FileInfo | null): boolean {
  if (a === null || b === null || a.dev !== b.dev || a.ino !== b.ino) return false;
  const [bornA, bornB] = [bornAt(a), bornAt(b)];
  if (bornA !== undefined && bornB !== undefined) return bornA === bornB;
  return a.isSocket === b.isSocket &&
    (!a.isSocket || a.mtime?.getTime() === b.mtime?.getTime());
}

/** Reports whether a file is the same, and its content was not written to in between. */
export function isUnchanged(a: Deno.FileInfo | null, b: Deno.FileInfo | null): boolean {
  return isSameFile(a, b) && a?.mtime?.getTime() === b?.mtime?.getTime();
}

/** Reports whether the file system has recorded when a file was created. */
export function hasTimeOfBirth(info: Deno.FileInfo): boolean {
  return bornAt(info) !== undefined;
}

/** The time of birth in milliseconds; where there is none, some systems say 1970. */
function bornAt({ birthtime }: Deno.FileInfo): number | undefined {
  const time = birthtime?.getTime() ?? 0;
  return time > 0 ? time : undefined;
}

/**
 * Describes an open file. Returns `undefined` where Deno does not permit that: it checks the path with its
 * symbolic links resolved, and all other calls check the path as it was given.
 */
export function statOpen(file: Deno.FsFile): Deno.FileInfo | undefined {
  try {
    return file.statSync();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

/** Removes a file if it is still this one; it is no failure if it has gone. */
export function removeIfSame(path: string, info: Deno.FileInfo | null): void {
  if (info === null || !isSameFile(lstat(path), info)) return;
  try {
    // Between the look and this call somebody who ignores the lock could still swap the file: no call
    // removes a file by its identity.
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** What kind of file it is, for messages: `a directory`. */
export function kindOf(info: Deno.FileInfo): string {
  if (info.isSocket) return "a socket";
  if (info.isSymlink) return "a symbolic link";
  if (info.isDirectory) return "a directory";
  if (info.isFile) return "a regular file";
  if (info.isFifo) return "a fifo";
  return "a device";
}

/** Mode and owner as the errors have them. */
export function ownership(
  { mode, uid, gid }: Deno.FileInfo,
): { mode: number | undefined; uid: number | undefined; gid: number | undefined } {
  return {
    mode: mode === null ? undefined : mode & 0o777,
    uid: uid ?? undefined,
    gid: gid ?? undefined,
  };
}

/** The permission bits that let others than the owner write. */
export const GROUP_AND_OTHERS_WRITE = 0o022;

/** Permission bits as people write them: `0600`. */
export function octal(mode: number): string {
  return `0${(mode & 0o777).toString(8).padStart(3, "0")}`;
}
