/**
 * Keeping a stranger's file out of the way of Deno's `close()`, which unlinks the path that it bound,
 * whoever's file is there by then.
 */

import { isSameFile, lstat } from "../base/file.ts";

/**
 * Runs `close` while the file at `path` has another name, and gives it its own back.
 *
 * @param path The path that will be unlinked; a file that is not ours is there.
 * @param aside A name to move it to, where a file of ours that is of no more use may be.
 */
export async function sheltered(
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
      // Another program may have put a file of its own there, for which the name is its lock.
      if (moved !== null && isSameFile(lstat(aside), moved)) {
        if (lstat(path) === null) unlessGone(() => Deno.renameSync(aside, path));
        // A second stranger took the place of the first one, as it would have anyway.
        else unlessGone(() => Deno.removeSync(aside));
      }
    }
  }
}

/** Does something to a file; reports whether it was there. */
function unlessGone(act: () => void): boolean {
  try {
    act();
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
