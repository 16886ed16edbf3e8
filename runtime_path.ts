/**
 * Finding a private place for a socket.
 *
 * @module
 */

import { checked } from "./_internal/base/caller_stack.ts";
import { InsecurePath } from "./errors.ts";
import { checkArguments, show } from "./_internal/base/check.ts";
import { requireGrants } from "./_internal/base/deno_permissions.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { kindOf, octal } from "./_internal/base/file.ts";
import { absolutePath } from "./_internal/base/path.ts";
import { checkPathLength } from "./_internal/base/socket_path.ts";

/**
 * Returns a path for a socket that only this user can reach: `$XDG_RUNTIME_DIR/<name>.sock` if that
 * variable is set, otherwise `<tmp>/uds-<uid>/<name>.sock`, where `<tmp>` is `$TMPDIR` or `/tmp`.
 *
 * - The directory must be a directory, not a symbolic link, owned by this user and closed to all
 *   others. The second one is created with mode 0700 if it is missing. Whatever the mode of the
 *   socket, no other user can then connect, or put a file in its place.
 * - A server and its clients find the same path if they run as the same user with the same two
 *   variables.
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
 *
 * @category Paths
 */
export async function runtimePath(name: string): Promise<string> {
  checked(runtimePath, () => {
    checkArguments("runtimePath", arguments, 1, "runtimePath(name)");
    checkName(name);
  });
  const operation = "runtimePath";
  requireGrants("Cannot find a runtime path", {
    env: ["XDG_RUNTIME_DIR", "TMPDIR"],
    sys: ["uid"],
  }, { operation, path: null });
  const uid = Deno.uid();
  if (uid === null) {
    throw new Deno.errors.NotSupported("Cannot find a runtime path: this system has no Unix users");
  }
  const given = Deno.env.get("XDG_RUNTIME_DIR");
  // A relative one must be ignored (XDG Base Directory Specification 0.8).
  const isGiven = given?.startsWith("/") ?? false;
  // Without a final slash: behind one, lstat would not see a symbolic link.
  const directory = absolutePath(
    isGiven ? given as string : `${Deno.env.get("TMPDIR") || "/tmp"}/uds-${uid}`,
  );
  const path = checkPathLength(
    `${directory}/${name}.sock`,
    "Set XDG_RUNTIME_DIR to a shorter directory, or choose a shorter name",
  );
  const context = new ErrorContext(operation, directory);
  context.require({ read: [directory], write: isGiven ? [] : [directory] });
  let info;
  try {
    if (!isGiven) {
      await Deno.mkdir(directory, { mode: 0o700 }).catch((error) => {
        if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
      });
    }
    info = await Deno.lstat(directory);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw context.fail(error);
    throw context.fail(
      error,
      isGiven
        ? "it does not exist. Set XDG_RUNTIME_DIR to a directory that does, or unset it"
        : "its parent directory does not exist. Set TMPDIR to one that does, or unset it",
    );
  }
  const mode = (info.mode ?? 0) & 0o777;
  const isOwn = info.isDirectory && info.uid === uid;
  if (isOwn && (mode & 0o077) === 0) return path;
  const found = info.isDirectory
    ? `it has mode ${octal(mode)} and belongs to uid ${info.uid}`
    : `it is ${kindOf(info)}`;
  // Never advise to remove it: it may be in use, and belong to another user.
  throw context.error(
    InsecurePath,
    `${found}, and it must be a directory with mode 0700 that belongs to uid ${uid}. ` +
      (isOwn ? `Close it with "chmod 700", or set` : "Set") +
      ` XDG_RUNTIME_DIR to a directory of your own${isGiven ? ", or unset it" : ""}`,
  );
}

function checkName(name: unknown): void {
  const isName = typeof name === "string" && /^[^/\0]+$/.test(name) && !/^\.+$/.test(name) &&
    name.isWellFormed();
  if (isName) return;
  throw new TypeError(
    `Invalid name: expected the name of a program, without "/" or NUL, got ${show(name)}`,
  );
}
