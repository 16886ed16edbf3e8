/** The command line of a Deno program as a child. */

import { fromFileUrl } from "@std/path/posix";

const CONFIG = fromFileUrl(new URL("../../../deno.json", import.meta.url));

/** Returns the arguments of `deno`. Without a permission flag node:child_process would add one. */
export function denoArgs(file: string, args: readonly string[]): string[] {
  return ["run", "--quiet", "-A", "--no-lock", "--config", CONFIG, file, ...args];
}
