/** Files of `/proc`, which Deno shows only to a process with all permissions. */

const ALL = ["read", "write", "net", "env", "run", "sys", "ffi"] as const;

let mayRead: boolean | undefined;

/** Reports whether Deno shows `/proc` to this process. */
export function mayReadProc(): boolean {
  return mayRead ??= Deno.build.os === "linux" &&
    ALL.every((name) => Deno.permissions.querySync({ name }).state === "granted");
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
