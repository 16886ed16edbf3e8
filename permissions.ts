/**
 * The Deno permissions that a socket takes.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import {
  checkArguments,
  checkBoolean,
  checkId,
  checkMode,
  checkOptions,
  type Checks,
  oneOf,
  show,
} from "./_internal/base/check.ts";
import { ALL_PERMISSIONS, pairPermissions, toFlags } from "./_internal/base/deno_permissions.ts";
import { directoriesAbove } from "./_internal/base/directory_steps.ts";
import { directoryOf } from "./_internal/base/path.ts";

/** What is to be done, for {@linkcode permissions}. `"serve"` stands for `listen()` too. */
export type Operation = "connect" | "serve" | "claim" | "probe" | "pair";

/** Options of {@linkcode permissions}: those of the operation that widen what it needs. */
export interface PermissionsOptions {
  /**
   * As in `ClaimOptions`.
   *
   * @default {0o600}
   */
  mode?: number;
  /**
   * As in `ClaimOptions`.
   *
   * @default {the user of this process}
   */
  uid?: number;
  /**
   * As in `ClaimOptions`.
   *
   * @default {the group that the system chooses}
   */
  gid?: number;
  /**
   * As in `ListenOptions`.
   *
   * @default {"direct"}
   */
  publish?: "direct" | "rename";
  /**
   * As in `ClaimOptions`.
   *
   * @default {false}
   */
  createDirectory?: boolean;
  /**
   * As in `ClaimOptions`.
   *
   * @default {false}
   */
  verifyDirectory?: boolean;
  /**
   * As in `ProbeOptions`.
   *
   * @default {true}
   */
  connect?: boolean;
  /**
   * As in `PairOptions`.
   *
   * @default {false for a program, true for a module}
   */
  clearEnv?: boolean;
}

const CHECKS: Checks<PermissionsOptions> = {
  mode: checkMode,
  uid: checkId,
  gid: checkId,
  publish: oneOf("direct", "rename"),
  createDirectory: checkBoolean,
  verifyDirectory: checkBoolean,
  connect: checkBoolean,
  clearEnv: checkBoolean,
};

const OPERATIONS: readonly Operation[] = ["connect", "serve", "claim", "probe", "pair"];

/** Deno lets only processes with every permission touch what is below these (`check_special_file`). */
const SPECIAL_DIRECTORIES = ["/dev/", "/proc/", "/sys/"];

/**
 * The least set of Deno permissions with which an operation works on a socket.
 *
 * - `"connect"`: read, write and net for the socket.
 * - `"serve"`, `"claim"`: the same, and read and write for its lock file, `<path>.lock`. With
 *   `publish: "rename"` also all three for `<path>.new`; with `createDirectory` write for the
 *   directory.
 * - With `verifyDirectory`, `mode`, `uid` or `gid` also read for the directory and for each one above it,
 *   because mode and owner are changed only in a directory that is known to be safe. The root directory is
 *   not among them: it is looked at where that is granted. Symbolic links are followed where this process
 *   has read permission, and the directories that they lead through are included.
 * - `"probe"`: read for the socket and its lock; write and net for the socket unless `connect` is
 *   `false`.
 * - `"pair"`: run for the command, which is the target, or for Deno itself where that is the URL of a
 *   module; env for the one variable that is read in any case, or all of env where it is handed on.
 * - An abstract name needs unscoped net, because Deno cannot scope a grant to one. What is below
 *   `/dev`, `/proc` or `/sys` needs every permission.
 * - Not included, because everything works without: `sys: ["umask"]`, with which a socket file never
 *   exists with a wider mode than asked for, not for an instant; and `sys: ["statfs"]`, with which a
 *   start can tell whether a stale socket is on a file system that another machine shares.
 * - Otherwise the same for a path below a symbolic link: Deno checks the path as it was given.
 *
 * The object fits `Deno.test`'s and a worker's `permissions`; {@linkcode permissionFlags} turns it
 * into flags.
 *
 * @param operation What is to be done.
 * @param target The address of the socket; of `"pair"` the command.
 * @param options The options of that operation that matter here.
 * @returns The permissions, each scoped to the paths it is needed for.
 * @throws {TypeError} when the operation or the address is not one.
 * @throws {RangeError} when the address is too long.
 *
 * @example Usage
 * ```ts
 * import { permissions } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(permissions("serve", "/run/app.sock"), {
 *   read: ["/run/app.sock", "/run/app.sock.lock"],
 *   write: ["/run/app.sock", "/run/app.sock.lock"],
 *   net: ["unix:/run/app.sock"],
 * });
 * ```
 */
export function permissions(
  operation: Operation,
  target: SocketPath,
  options: PermissionsOptions = {},
): Deno.PermissionOptionsObject {
  checkArguments("permissions", arguments, 3, "permissions(operation, path, { publish })");
  if (!OPERATIONS.includes(operation)) {
    throw new TypeError(
      `Invalid operation ${show(operation)}: expected one of ${OPERATIONS.map(show).join(", ")}`,
    );
  }
  checkOptions("permissions", options, CHECKS);
  if (operation === "pair") return pairPermissions(target, options.clearEnv);
  const path = resolveSocketPath(target);
  if (path.startsWith("\0")) return { net: true };
  if (SPECIAL_DIRECTORIES.some((directory) => path.startsWith(directory))) {
    return { ...ALL_PERMISSIONS };
  }
  if (operation === "connect") return { read: [path], write: [path], net: [`unix:${path}`] };
  const lock = `${path}.lock`;
  if (operation === "probe") {
    return options.connect === false
      ? { read: [path, lock] }
      : { read: [path, lock], write: [path], net: [`unix:${path}`] };
  }
  const read = [path, lock];
  const write = [path, lock];
  const net = [`unix:${path}`];
  if (options.publish === "rename") {
    for (const list of [read, write]) list.push(`${path}.new`, `${lock}.new`);
    net.push(`unix:${path}.new`);
  }
  const { verifyDirectory, mode, uid, gid } = options;
  if (verifyDirectory || (mode ?? uid ?? gid) !== undefined) read.push(...directoriesAbove(path));
  if (options.createDirectory) write.push(directoryOf(path));
  return { read, write, net };
}

/**
 * Writes permissions as flags for `deno run`.
 *
 * @param set The permissions, as {@linkcode permissions} gives them. A kind that is `false`, empty
 * or absent gives no flag.
 * @returns One flag for each kind that is granted, or `["--allow-all"]` for all of them.
 * @throws {TypeError} when an entry has a comma: Deno 2.9.6 has no way to write it in a flag. Use a
 * permission set in `deno.json` with `-P` instead.
 *
 * @example Usage
 * ```ts
 * import { permissionFlags, permissions } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * assertEquals(permissionFlags(permissions("connect", "/run/app.sock")), [
 *   "--allow-read=/run/app.sock",
 *   "--allow-write=/run/app.sock",
 *   "--allow-net=unix:/run/app.sock",
 * ]);
 * ```
 */
export function permissionFlags(set: Deno.PermissionOptionsObject): string[] {
  return toFlags(set);
}
