/**
 * The addresses of Unix domain sockets: what is a valid path, which place to choose for one, and
 * which Deno permissions it takes to use it.
 *
 * - A path is made absolute against the working directory at once, so a later `Deno.chdir` changes
 *   nothing.
 * - What the kernel or Deno would misread is refused before either is asked: `Deno.listen` binds a
 *   file called `undefined` in the working directory for a missing path, and an abstract name for an
 *   empty one.
 *
 * @module
 */

import { InsecurePath } from "./errors.ts";
import { absolutePath, directoryOf, pathOfUrl } from "./_internal/base/path.ts";
import { directoriesAbove } from "./_internal/path/directory_steps.ts";
import { kindOf, octal } from "./_internal/base/file.ts";
import { ambiguityOf } from "./_internal/base/parent_link.ts";
import { ALL_PERMISSIONS, requireGrants, toFlags } from "./_internal/base/deno_permissions.ts";
import { systemError } from "./_internal/base/failure.ts";
import {
  checkArguments,
  checkBoolean,
  checkChoice,
  checkId,
  checkMode,
  checkOptions,
  show,
} from "./_internal/base/check.ts";
import { quoteAddress } from "./_internal/base/shown_address.ts";

/**
 * The address of a socket.
 *
 * - A string is a path in the file system; a relative one is taken from the working directory.
 * - A `URL` must be a `file:` URL without host, query or hash.
 * - A string that starts with a NUL, `"\0name"`, is an abstract name (Linux only). It has no file and
 *   therefore no permissions: every process in the network namespace may connect. The command line
 *   writes it `@name`. All of its characters count, NULs included: a program that pads its name with
 *   NULs to the full 108 bytes, as HAProxy does, is reached at the padded name alone.
 * - Deno names sockets in UTF-8. A name with other bytes cannot be written here.
 */
export type SocketPath = string | URL;

/** An end of a Unix domain socket connection. */
export interface UnixAddr {
  /** Always `"unix"`. */
  readonly transport: "unix";
  /** The absolute path, `"\0name"` for an abstract name, or `null` for an end without a name. */
  readonly path: string | null;
}

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

/** `sun_path` has 108 bytes on Linux and 104 on macOS and the BSDs, one of them for the final NUL. */
const MAX_PATH_BYTES = Deno.build.os === "linux" || Deno.build.os === "android" ? 107 : 103;

const OPERATIONS: readonly Operation[] = ["connect", "serve", "claim", "probe", "pair"];

/** Deno lets only processes with every permission touch what is below these (`check_special_file`). */
const SPECIAL_DIRECTORIES = ["/dev/", "/proc/", "/sys/"];

/**
 * Checks the address of a socket and makes it absolute.
 *
 * - At most 107 bytes on Linux, 103 on macOS: bytes of UTF-8, not characters.
 * - Refused: an empty path, a NUL inside a path, a final `/`, a URL with host, query or hash, a URL that was
 *   passed as a string (`"file:///…"`, `"unix:///…"`), and a lone surrogate, which UTF-8 cannot hold.
 * - Symbolic links are not resolved. Only where `..` follows a name, and this process may read there, that
 *   name is looked at: behind a symbolic link to another directory, the system and Deno's permissions
 *   disagree on where `..` leads, so the path is refused.
 *
 * @param path The address.
 * @returns The absolute path, or the abstract name as it was.
 * @throws {TypeError} when the address is not one, or this system has no abstract names.
 * @throws {RangeError} when the address is too long.
 *
 * @example Usage
 * ```ts
 * import { resolveSocketPath } from "@uds/uds";
 * import { assertEquals, assertThrows } from "@std/assert";
 *
 * assertEquals(resolveSocketPath("/run/app/../app.sock"), "/run/app.sock");
 * assertThrows(() => resolveSocketPath(""), TypeError, "empty");
 * assertThrows(() => resolveSocketPath("/" + "é".repeat(60)), RangeError, "121 bytes");
 * ```
 */
export function resolveSocketPath(path: SocketPath): string {
  if (path instanceof URL) return checkLength(fromUrl(path));
  if (typeof path !== "string") {
    throw new TypeError(`Invalid socket path: expected a string or a file: URL, got ${show(path)}`);
  }
  if (path === "") {
    throw new TypeError(
      "Invalid socket path: it is empty. Pass the path of a file, such as /run/app.sock",
    );
  }
  if (!path.isWellFormed()) {
    throw new TypeError(
      `Invalid socket path ${show(path)}: it contains a lone surrogate, which UTF-8 cannot hold`,
    );
  }
  if (path.startsWith("\0")) return checkAbstractName(path);
  if (/^(file:|unix:|[a-z][a-z0-9+.-]*:\/\/)/i.test(path)) {
    throw new TypeError(
      `Invalid socket path ${show(path)}: it is a URL in a string. ` +
        `Pass a path, or new URL(…) of a file: URL`,
    );
  }
  checkFileName(path);
  try {
    requireOneMeaning(path);
    return checkLength(absolutePath(path));
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    const fields = { operation: "resolve", path };
    const state = "it is relative, and the working directory does not exist any more";
    throw systemError(`Cannot resolve ${show(path)}`, error, fields, state);
  }
}

function requireOneMeaning(path: string): void {
  const found = ambiguityOf(path);
  if (found === undefined) return;
  throw new TypeError(
    `Invalid socket path ${show(path)}: ${
      show(found.link)
    } is a symbolic link, and behind it ".." ` +
      `leads to ${show(found.parent)} for the system and to ${show(found.lexical)} for Deno's ` +
      `permissions. Write the path without ".."`,
  );
}

/** The path of a `file:` URL. */
function fromUrl(url: URL): string {
  if (url.protocol !== "file:") {
    throw new TypeError(`Invalid socket path ${show(url.href)}: expected a file: URL`);
  }
  if (url.host !== "" || url.search !== "" || url.hash !== "") {
    throw new TypeError(
      `Invalid socket path ${
        show(url.href)
      }: a file: URL with a host, a query or a hash names no ` +
        `socket. Escape "?" and "#" in a path as %3F and %23`,
    );
  }
  let path;
  try {
    path = pathOfUrl(url);
  } catch {
    throw new TypeError(
      `Invalid socket path ${show(url.href)}: its percent escapes are not those of UTF-8`,
    );
  }
  return absolutePath(checkFileName(path));
}

function checkFileName(path: string): string {
  if (path.includes("\0")) {
    throw new TypeError(
      `Invalid socket path ${show(path)}: it contains a NUL. ` +
        `Only an abstract name has one, as its first character`,
    );
  }
  if (path.endsWith("/")) {
    throw new TypeError(
      `Invalid socket path ${show(path)}: it ends with "/". Name a file in that directory`,
    );
  }
  return path;
}

function checkAbstractName(name: string): string {
  if (Deno.build.os !== "linux" && Deno.build.os !== "android") {
    throw new TypeError(
      `Invalid socket path ${show(name)}: abstract names exist on Linux only. Pass a path`,
    );
  }
  if (name.length === 1) {
    throw new TypeError(`Invalid socket path ${show(name)}: the abstract name is empty`);
  }
  return checkLength(name);
}

/** @param remedy What helps, for the error. */
function checkLength(
  path: string,
  remedy: string = "Choose a shorter directory, such as $XDG_RUNTIME_DIR",
): string {
  // An abstract name has no final NUL, but a first one: the limit is the same for what follows it.
  const bytes = new TextEncoder().encode(path).length;
  const limit = path.startsWith("\0") ? MAX_PATH_BYTES + 1 : MAX_PATH_BYTES;
  if (bytes > limit) {
    const how = path.startsWith("\0")
      ? `, and the system allows at most ${limit}. Choose a shorter name`
      : ` when absolute, and the system allows at most ${limit}. ${remedy}`;
    throw new RangeError(
      `Invalid socket path ${quoteAddress(path)}: it has ${bytes} bytes${how}`,
    );
  }
  return path;
}

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
  checkOptions("permissions", options, [
    "mode",
    "uid",
    "gid",
    "publish",
    "createDirectory",
    "verifyDirectory",
    "connect",
    "clearEnv",
  ]);
  checkMode(options.mode);
  checkId("uid", options.uid);
  checkId("gid", options.gid);
  checkChoice("publish", options.publish, ["direct", "rename"]);
  for (const name of ["createDirectory", "verifyDirectory", "connect", "clearEnv"] as const) {
    checkBoolean(name, options[name]);
  }
  if (operation === "pair") {
    const isModule = target instanceof URL;
    return {
      run: [isModule ? Deno.execPath() : target],
      // Read by node:child_process whatever environment it is given.
      env: options.clearEnv ?? isModule ? ["NODE_V8_COVERAGE"] : true,
    };
  }
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
  const path = checkLength(
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
