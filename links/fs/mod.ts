/** The part of `@std/fs` that this project uses. @module */

/** Reports whether a path exists. A symbolic link counts as its target. */
export async function exists(path: string | URL): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
