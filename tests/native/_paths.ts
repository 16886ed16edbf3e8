/** Helpers of the tests of packet sockets at a path. */

import { libcIfGranted } from "../../_internal/libc/library.ts";
import { readiness } from "../../_internal/libc/readiness.ts";
import { denoArgs, fixturePath, Program } from "../_helpers.ts";

// These stay open. Opened here, they do not count as a leak of the first test.
const libc = libcIfGranted();
if (libc !== undefined) readiness(libc);

/** Starts a peer in Python. */
export function peer(...args: string[]): Program {
  return new Program("python3", [fixturePath("paths_peer.py"), ...args], { stdin: "piped" });
}

/** Starts `paths_use.ts` after a command of the shell, such as `umask 000`. */
export function pathsUse(setting: string, flags: string[], ...args: string[]): Program {
  const command = [Deno.execPath(), ...denoArgs("paths_use.ts", flags, args)];
  return new Program("sh", ["-c", `${setting}; exec "$@"`, "sh", ...command], { stdin: "piped" });
}

/** Returns the permission bits of a file. */
export function modeOf(path: string): number {
  return Deno.lstatSync(path).mode! & 0o777;
}
