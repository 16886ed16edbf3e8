/** How a program for Deno is started as a child. */

import { fromFileUrl } from "@std/path/posix";

const CONFIG = fromFileUrl(new URL("../../../deno.json", import.meta.url));

/** The arguments of `deno` that run a file. It is given a permission flag: else node:child_process adds one. */
export function denoArgs(file: string, args: readonly string[]): string[] {
  return ["run", "--quiet", "-A", "--no-lock", "--config", CONFIG, file, ...args];
}
