/** The way of a program: plain Deno, or the library. */

import { raw, TASK, type Way } from "./_program.ts";

/** Returns the way that the words name, `raw` or `uds`. Only the latter loads the library. */
export async function way(): Promise<Way> {
  return (TASK.words.includes("raw") ? raw : (await import("./_uds.ts")).uds) as Way;
}
