/** A detour for another program's file: Deno's `close()` unlinks whatever is at the bound path. */

import { isSameFile, lstat } from "../base/file.ts";

/**
 * Calls `close` while the file at `path` has another name, and renames it back.
 *
 * @param path The path that will be unlinked, with a file that is not ours.
 * @param aside The other name. A file of ours that is not needed any more may be there.
 */
export async function moveAside(
  path: string,
  aside: string,
  close: () => Promise<void>,
): Promise<void> {
  let moved: Deno.FileInfo | null = null;
  try {
    if (unlessGone(() => Deno.renameSync(path, aside))) moved = lstat(aside);
  } finally {
    try {
      await close();
    } finally {
      // Another program may have put its own file there, for which the name is its lock.
      if (moved !== null && isSameFile(lstat(aside), moved)) {
        if (lstat(path) === null) unlessGone(() => Deno.renameSync(aside, path));
        // Another file took the place of the moved one, as it would have without us.
        else unlessGone(() => Deno.removeSync(aside));
      }
    }
  }
}

/** Calls a function that uses a file. Reports whether the file was there. */
function unlessGone(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
