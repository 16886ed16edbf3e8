/**
 * The Deno permissions that a socket needs.
 *
 * @module
 */

import { checked } from "./_internal/base/caller_stack.ts";
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
import { pairPermissions, toFlags } from "./_internal/base/deno_permissions.ts";
import { socketPermissions } from "./_internal/base/socket_permissions.ts";

/**
 * An operation for {@linkcode permissions}. `"serve"` includes `listen()`.
 *
 * @category Permissions
 */
export type Operation = "connect" | "serve" | "claim" | "probe" | "pair";

/**
 * Options of {@linkcode permissions}: the options of the operation that change what it needs.
 *
 * @category Permissions
 */
export interface PermissionsOptions {
  /**
   * The same as in `ClaimOptions`.
   *
   * @default {0o600}
   */
  mode?: number | undefined;
  /**
   * The same as in `ClaimOptions`.
   *
   * @default {the user of this process}
   */
  uid?: number | undefined;
  /**
   * The same as in `ClaimOptions`.
   *
   * @default {the group that the system chooses}
   */
  gid?: number | undefined;
  /**
   * The same as in `ListenOptions`.
   *
   * @default {"direct"}
   */
  publish?: "direct" | "rename" | undefined;
  /**
   * The same as in `ClaimOptions`.
   *
   * @default {false}
   */
  createDirectory?: boolean | undefined;
  /**
   * The same as in `ClaimOptions`.
   *
   * @default {false}
   */
  verifyDirectory?: boolean | undefined;
  /**
   * The same as in `ProbeOptions`.
   *
   * @default {true}
   */
  connect?: boolean | undefined;
  /**
   * The same as in `PairOptions`.
   *
   * @default {false for a program, true for a module}
   */
  clearEnv?: boolean | undefined;
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

/**
 * Returns the smallest set of Deno permissions with which an operation works on a socket.
 *
 * - `"connect"`: read, write and net for the socket.
 * - `"serve"`, `"claim"`: the same, and read and write for its lock file, `<path>.lock`. With
 *   `publish: "rename"` also all three for `<path>.new`, and `"claim"` for `<path>.old`. With
 *   `createDirectory` also write for the directory.
 * - With `verifyDirectory`, `mode`, `uid` or `gid` also read for the directory and each one above
 *   it, because mode and owner are changed only in a directory that is known to be safe. The root
 *   directory is not included, and is checked only if it is granted. Symbolic links are followed if
 *   this process may read them, and the directories that they lead through are included.
 * - `"probe"`: read for the socket and its lock. Unless `connect` is `false`, also write and net
 *   for the socket.
 * - `"pair"`: run for the command, which is the target; for Deno itself if the target is the URL of
 *   a module. Also env, for the one variable that is always read, or for all if the child inherits
 *   the environment.
 * - `"serve"` at a descriptor, `{ fd }`: none.
 * - An abstract name needs unscoped net, because Deno cannot scope a grant to one. Paths below
 *   `/dev`, `/proc` or `/sys` need every permission.
 * - Not included, because everything works without them: `sys: ["umask"]`, with which a socket file
 *   never has a wider mode than you chose, not even for an instant; and `sys: ["statfs"]`, with
 *   which a start can detect a stale socket on a file system that another machine shares.
 * - A path below a symbolic link needs the same: Deno checks the path as you pass it.
 *
 * The object fits the `permissions` of `Deno.test` and of a worker. {@linkcode permissionFlags}
 * turns it into flags.
 *
 * @param operation The operation.
 * @param target The address of the socket; for `"serve"` also `{ fd }`, for `"pair"` the command.
 * @param options The options of that operation that matter here.
 * @returns The permissions, each scoped to the paths that need it.
 * @throws {TypeError} when the operation or the address is not valid.
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
 *
 * @category Permissions
 */
export function permissions(
  operation: Operation,
  target: SocketPath | { fd: number },
  options: PermissionsOptions = {},
): Deno.PermissionOptionsObject {
  return checked(permissions, () => {
    checkArguments("permissions", arguments, 3, "permissions(operation, path, { publish })");
    if (!OPERATIONS.includes(operation)) {
      throw new TypeError(
        `Invalid operation: expected one of ${OPERATIONS.map(show).join(", ")}, ` +
          `got ${show(operation)}`,
      );
    }
    checkOptions("permissions", options, CHECKS);
    if (operation === "pair") return pairPermissions(target as SocketPath, options.clearEnv);
    if (operation === "serve" && typeof target === "object" && "fd" in target) return {};
    return socketPermissions(operation, resolveSocketPath(target as SocketPath), options);
  });
}

/**
 * Returns permissions as flags for `deno run`.
 *
 * @param set The permissions, as {@linkcode permissions} returns them. A kind that is `false`,
 * empty or absent adds no flag.
 * @returns One flag for each kind that is granted, or `["--allow-all"]` for all of them.
 * @throws {TypeError} when an entry has a comma, which a flag of Deno 2.9.6 cannot contain. Use a
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
 *
 * @category Permissions
 */
export function permissionFlags(set: Deno.PermissionOptionsObject): string[] {
  return toFlags(set);
}
