/** Files of `/proc`, which Deno shows only to a process with all permissions. */

import { ALL_PERMISSIONS, areGranted } from "../../_internal/base/deno_permissions.ts";

let mayRead: boolean | undefined;

/** Reports whether Deno shows `/proc` to this process. */
export function mayReadProc(): boolean {
  return mayRead ??= Deno.build.os === "linux" &&
    areGranted(ALL_PERMISSIONS);
}

/** Returns the text of a file below `/proc`, or `undefined` if this process cannot read it. */
export function readProc(file: string): string | undefined {
  if (!mayReadProc()) return undefined;
  try {
    return Deno.readTextFileSync(`/proc/${file}`);
  } catch {
    return undefined;
  }
}
