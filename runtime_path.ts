/**
 * The place for a socket of one's own.
 *
 * @module
 */

import { InsecurePath } from "./errors.ts";
import { checkArguments, show } from "./_internal/base/check.ts";
import { requireGrants } from "./_internal/base/deno_permissions.ts";
import { systemError } from "./_internal/base/failure.ts";
import { kindOf, octal } from "./_internal/base/file.ts";
import { absolutePath } from "./_internal/base/path.ts";
import { checkPathLength } from "./_internal/base/path_length.ts";

/**
 * Finds the place for a socket of this user's own: `$XDG_RUNTIME_DIR/<name>.sock` where that
 * variable is set, else `<tmp>/uds-<uid>/<name>.sock`, with `$TMPDIR` or `/tmp` as `<tmp>`.
 *
 * - The directory must be a directory, no symbolic link, owned by this user and closed to all
 *   others; the second one is created with mode 0700 if it is missing. Nobody else can then put a
 *   file in the socket's place or connect, whatever the mode of the socket.
 * - A server and its clients find the same place as long as they run as the same user with the
 *   same two variables.
 *
 * **Permissions**: `--allow-env=XDG_RUNTIME_DIR,TMPDIR --allow-sys=uid`, read for the directory,
 * and write for the second one. On Windows it rejects: Deno has no Unix sockets there.
 *
 * @param name The name of the program, without a directory and without `.sock`.
 * @returns The absolute path. Nothing is at it yet, unless the socket is in use.
 * @throws {TypeError} when the name is empty or has a `/`, a NUL or nothing but dots.
 * @throws {RangeError} when the path would be too long.
 * @throws {InsecurePath} when the directory is not this user's alone.
 *
 * @example Usage
 * ```ts
 * import { runtimePath } from "@uds/uds";
 * import { assert } from "@std/assert";
 *
 * const path = await runtimePath("uds-example");
 * assert(path.endsWith("/uds-example.sock"));
 * ```
 */
export async function runtimePath(name: string): Promise<string> {
  checkArguments("runtimePath", arguments, 1, "runtimePath(name)");
  if (typeof name !== "string" || name === "" || /[/\0]|^\.+$/.test(name) || !name.isWellFormed()) {
    throw new TypeError(
      `Invalid name ${show(name)}: expected the name of a program, without "/" or NUL`,
    );
  }
  const need = (set: Deno.PermissionOptionsObject, path: string | null) =>
    requireGrants("Cannot find a runtime path", set, { operation: "runtimePath", path });
  need({ env: ["XDG_RUNTIME_DIR", "TMPDIR"], sys: ["uid"] }, null);
  const uid = Deno.uid();
  if (uid === null) {
    throw new Deno.errors.NotSupported("Cannot find a runtime path: this system has no Unix users");
  }
  const given = Deno.env.get("XDG_RUNTIME_DIR");
  // A relative one is to be ignored (XDG Base Directory Specification 0.8).
  const isGiven = given?.startsWith("/") ?? false;
  // Without a final slash, behind which a symbolic link would not be seen.
  const directory = isGiven
    ? absolutePath(given as string)
    : absolutePath(`${Deno.env.get("TMPDIR") || "/tmp"}/uds-${uid}`);
  const path = checkPathLength(
    `${directory}/${name}.sock`,
    "Set XDG_RUNTIME_DIR to a shorter directory, or choose a shorter name",
  );
  if (isGiven) {
    need({ read: [directory] }, directory);
  } else {
    need({ read: [directory], write: [directory] }, directory);
  }
  const start = `Cannot use the runtime directory ${show(directory)}`;
  const fields = { operation: "runtimePath", path: directory };
  let info;
  try {
    if (!isGiven) {
      await Deno.mkdir(directory, { mode: 0o700 }).catch((error) => {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      });
    }
    info = await Deno.lstat(directory);
  } catch (error) {
    const state = error instanceof Deno.errors.NotFound
      ? isGiven
        ? "it does not exist. Set XDG_RUNTIME_DIR to a directory that does, or unset it"
        : "the directory that it would be in does not exist. Set TMPDIR to one that does, or unset it"
      : undefined;
    throw systemError(start, error, fields, state);
  }
  const mode = (info.mode ?? 0) & 0o777;
  if (info.isDirectory && info.uid === uid && (mode & 0o077) === 0) return path;
  const isOwn = info.isDirectory && info.uid === uid;
  const found = info.isDirectory
    ? `it has mode ${octal(mode)} and belongs to uid ${info.uid}`
    : `it is ${kindOf(info)}`;
  // Never to remove it: it may be in use, and another user's.
  throw new InsecurePath(
    `${start}: ${found}, and it must be a directory with mode 0700 that belongs to uid ${uid}. ` +
      (isOwn ? `Close it with "chmod 700", or set` : "Set") +
      ` XDG_RUNTIME_DIR to a directory of your own${isGiven ? ", or unset it" : ""}`,
    fields,
  );
}
