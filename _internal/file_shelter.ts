/**
 * Keeping a stranger's file out of the way of Deno's `close()`, which unlinks the path that it bound,
 * whoever's file is there by then.
 */

import { lstat } from "./file_identity.ts";

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
  // The name may be that of a lock: a regular file there would be taken for it.
  using _guard = lstat(path)?.isFile ? lockForeign(path) : undefined;
  let moved = false;
  try {
    moved = unlessGone(() => Deno.renameSync(path, aside));
  } finally {
    try {
      await close();
    } finally {
      if (moved && lstat(path) === null) unlessGone(() => Deno.renameSync(aside, path));
      // A second stranger took the place of the first one, as it would have anyway.
      else if (moved) unlessGone(() => Deno.removeSync(aside));
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

/** Locks a file that is not ours; where that is denied, so it is to those who would take it for a lock. */
function lockForeign(path: string): Deno.FsFile | undefined {
  try {
    const file = Deno.openSync(path);
    file.tryLockSync(true);
    return file;
  } catch {
    return undefined;
  }
}
