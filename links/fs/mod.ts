/** The part of `@std/fs` that this project uses. @module */

/** Tells whether something is at a path; a symbolic link counts for what it points to. */
export async function exists(path: string | URL): Promise<boolean> {
  try {
    await Deno.stat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
