/** The identity of files: whether the file at a path is still the same one. */

/** Returns what is at a path, without following symbolic links; `null` if nothing is. */
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
 * - The kernel reuses an inode number soon after its file is removed, so the time of creation
 *   counts too.
 * - Some file systems do not record it: ramfs, FUSE, ext4 with inodes of 128 bytes, NFS. There the
 *   time of the last modification identifies a socket. The bind sets it; `chmod`, `chown`, a rename
 *   and a connection do not change it.
 * - A write changes it for a regular file. Ours are locks, which their holder keeps open. The inode
 *   of an open file is not reused, so device and inode are enough.
 */
export function isSameFile(a: Deno.FileInfo | null, b: Deno.FileInfo | null): boolean {
  if (a === null || b === null || a.dev !== b.dev || a.ino !== b.ino) return false;
  const [bornA, bornB] = [bornAt(a), bornAt(b)];
  if (bornA !== undefined && bornB !== undefined) return bornA === bornB;
  return a.isSocket === b.isSocket &&
    (!a.isSocket || a.mtime?.getTime() === b.mtime?.getTime());
}

/** Reports whether a file is the same, and nothing was written to it in between. */
export function isUnchanged(a: Deno.FileInfo | null, b: Deno.FileInfo | null): boolean {
  return isSameFile(a, b) && a?.mtime?.getTime() === b?.mtime?.getTime();
}

/** Reports whether the file system has recorded when a file was created. */
export function hasTimeOfBirth(info: Deno.FileInfo): boolean {
  return bornAt(info) !== undefined;
}

/**
 * Returns the time of creation in milliseconds. Some systems report 1970 if they do not record it.
 */
function bornAt({ birthtime }: Deno.FileInfo): number | undefined {
  const time = birthtime?.getTime() ?? 0;
  return time > 0 ? time : undefined;
}

/**
 * Describes an open file. Returns `undefined` if Deno does not permit that: this call checks the
 * path with its symbolic links resolved, all others check the path as it was given.
 */
export function statOpen(file: Deno.FsFile): Deno.FileInfo | undefined {
  try {
    return file.statSync();
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) return undefined;
    throw error;
  }
}

/** Removes a file if it is still this one. Does nothing if it is gone. */
export function removeIfSame(path: string, info: Deno.FileInfo | null): void {
  if (info === null || !isSameFile(lstat(path), info)) return;
  try {
    // A process that ignores the lock can still swap the file here: no call removes a file by its
    // identity.
    Deno.removeSync(path);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

/** Returns the kind of a file, for messages: `a directory`. */
export function kindOf(info: Deno.FileInfo): string {
  if (info.isSocket) return "a socket";
  if (info.isSymlink) return "a symbolic link";
  if (info.isDirectory) return "a directory";
  if (info.isFile) return "a regular file";
  if (info.isFifo) return "a fifo";
  return "a device";
}

/** Returns mode and owner in the form that errors and results have, as far as they are known. */
export function ownership(
  { mode, uid, gid }: Deno.FileInfo,
): { mode?: number; uid?: number; gid?: number } {
  return {
    ...(mode !== null && { mode: mode & 0o777 }),
    ...(uid !== null && { uid }),
    ...(gid !== null && { gid }),
  };
}

/** The permission bits with which the group and others may write. */
export const GROUP_AND_OTHERS_WRITE = 0o022;

/** Formats permission bits: `0600`. */
export function octal(mode: number): string {
  return `0${(mode & 0o777).toString(8).padStart(3, "0")}`;
}
