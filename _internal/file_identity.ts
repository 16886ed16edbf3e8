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
 * Whether two descriptions are of the same file. An inode number is used again soon after its file
 * is removed, so the time of birth counts too; where a file system has none, the time of the last
 * modification, which binding sets and which neither `chmod` nor a connection changes.
 */
export function isSameFile(a: Deno.FileInfo | null, b: Deno.FileInfo | null): boolean {
  return a !== null && b !== null && a.dev === b.dev && a.ino === b.ino &&
    bornAt(a) === bornAt(b);
}

function bornAt(info: Deno.FileInfo): number | undefined {
  return (info.birthtime ?? info.mtime)?.getTime();
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
