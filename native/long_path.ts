/** Paths that are longer than the system's limit for sockets. */

import type { ConnectOptions } from "../client.ts";
import type { Connection } from "../connection.ts";
import { checked, seenFrom } from "../_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkBoolean,
  checkMode,
  checkOptions,
  type Checks,
  checkSignal,
  checkUsers,
  duration,
  unchecked,
  withPath,
} from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { lstat, removeIfSame } from "../_internal/base/file.ts";
import { builtin } from "../_internal/base/node.ts";
import { requireRuntime } from "../_internal/base/runtime.ts";
import { socketPermissions } from "../_internal/base/socket_permissions.ts";
import { SocketConnection } from "../_internal/connection/socket_connection.ts";
import { FdSocket } from "../_internal/descriptor/fd_socket.ts";
import { requireLibc } from "../_internal/libc/library.ts";
import { socketCookie } from "../_internal/libc/socket_option.ts";
import { own } from "../_internal/native/descriptor_openings.ts";
import { openAt, resolveLongPath } from "../_internal/native/long_path.ts";
import { connectRefusal } from "../_internal/path/connect_refusal.ts";
import { connectWithin } from "../_internal/path/connect_tries.ts";

/**
 * Options of {@linkcode connectLongPath}: those of `connect()`.
 *
 * It has:
 *
 * - {@linkcode ConnectOptions.path | path}: The path of the socket, or an abstract name.
 * - {@linkcode ConnectOptions.timeout | timeout}: How long, in milliseconds, to try.
 * - {@linkcode ConnectOptions.wait | wait}: Whether to wait for a server that is still starting: to
 *   try again while the file does not exist, no server listens on it, or the file system denies
 *   access.
 * - {@linkcode ConnectOptions.owner | owner}: The user, or a list of users, that must own the
 *   socket file.
 * - {@linkcode ConnectOptions.descriptors | descriptors}: Whether descriptors can be sent and
 *   received, by `sendDescriptors()` and `receiveDescriptors()` of `@uds/uds/native`.
 * - {@linkcode ConnectOptions.signal | signal}: Stops trying.
 *
 * @category Native
 */
export interface ConnectLongPathOptions
  extends Pick<ConnectOptions, "path" | "timeout" | "wait" | "owner" | "descriptors" | "signal"> {}

/**
 * Options of {@linkcode bindLongPath}.
 *
 * @category Native
 */
export interface BindLongPathOptions {
  /** The path of the socket file, of any length. */
  path: string | URL;
  /**
   * The mode of the socket file.
   *
   * @default {0o600}
   */
  mode?: number | undefined;
}

/**
 * A socket that is bound to a long path, for `serve({ fd })` or `listen({ fd })`.
 *
 * @category Native
 */
export interface BoundLongPath extends Disposable {
  /** The descriptor of the socket, which does not listen yet. */
  readonly fd: number;
  /** The absolute path. */
  readonly path: string;
  /**
   * Removes the socket file, if it is still the one that was bound, and closes the descriptor, if
   * it is still open. Idempotent; disposal does the same.
   *
   * @throws {SocketError} when the file cannot be removed.
   */
  close(): void;
}

const CONNECT_CHECKS: Checks<ConnectLongPathOptions> = {
  path: unchecked,
  timeout: duration(),
  wait: checkBoolean,
  owner: checkUsers,
  descriptors: checkBoolean,
  signal: checkSignal,
};

const BIND_CHECKS: Checks<BindLongPathOptions> = { path: unchecked, mode: checkMode };

const DEFAULT_MODE = 0o600;

/**
 * Connects to a server at a path of any length. The system allows 107 bytes.
 *
 * - It opens the directory, and connects through its descriptor. The name of the file itself may
 *   have up to 85 bytes.
 * - It tries, waits and refuses as `connect()` does.
 * - Linux only.
 *
 * **Permissions**: read and write for the path, `--allow-net=unix:<path>`, and `--allow-ffi` for
 * libc, see {@linkcode nativePermissions}.
 *
 * @param options The path, or the path with the options of `connect()`.
 * @returns The connection. Close it when you are done.
 * @throws {TypeError} when an argument has the wrong type.
 * @throws {RangeError} when the name of the file is too long.
 * @throws {SocketNotFound} when the file does not exist.
 * @throws {NothingListening} when no server listens there.
 * @throws {ConnectDenied} when the file system does not allow it.
 * @throws {ConnectTimeout} when the time is over; the last refusal is the `cause`.
 * @throws {Deno.errors.NotSupported} on macOS.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Serve and connect at a long path
 * ```ts
 * import { serve } from "@uds/uds";
 * import { bindLongPath, connectLongPath } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const directory = `${await Deno.makeTempDir()}/${"long".repeat(50)}`;
 * await Deno.mkdir(directory);
 *
 * using bound = bindLongPath(`${directory}/app.sock`);
 * await using _server = await serve({ fd: bound.fd }, async (conn) => {
 *   await conn.writeText("hello");
 * });
 * await using conn = await connectLongPath(bound.path);
 * assertEquals(await new Response(conn.readable).text(), "hello");
 * ```
 *
 * @category Native
 */
export async function connectLongPath(
  options: string | URL | ConnectLongPathOptions,
): Promise<Connection> {
  try {
    checkArguments("connectLongPath", arguments, 1, "connectLongPath({ path, timeout })");
    const given: ConnectLongPathOptions = withPath(options);
    checkOptions("connectLongPath", given, CONNECT_CHECKS);
    const path = resolveLongPath(given.path);
    const context = new ErrorContext("connectLongPath", path);
    context.later = socketPermissions("connect", path, {});
    requireRuntime();
    given.signal?.throwIfAborted();
    const libc = requireLibc(context);
    return await connectWithin(context, given, {
      open: () => {
        const fd = openAt(libc, context, "connect");
        const { Socket } = builtin("node:net");
        const transport = given.descriptors
          ? own(libc, fd)
          : new FdSocket((onread) => new Socket({ fd, allowHalfOpen: true, onread }));
        return new SocketConnection(transport, {
          localAddr: { transport: "unix", path: null },
          remoteAddr: { transport: "unix", path },
        });
      },
      refusal: (cause) =>
        cause instanceof Deno.errors.NotCapable || cause instanceof Deno.errors.NotSupported
          ? cause
          : connectRefusal(context, cause),
    });
  } catch (error) {
    throw seenFrom(connectLongPath, error);
  }
}

/**
 * Binds a socket to a path of any length, for `serve({ fd })`. The system allows 107 bytes.
 *
 * - It opens the directory, and binds through its descriptor. The name of the file itself may have
 *   up to 85 bytes.
 * - Nothing is locked, and no file is replaced: a stale socket file must be removed first.
 * - Clients cannot connect before the server listens. The mode is set before that.
 * - Close the server first, and then what this returns.
 * - Linux only.
 *
 * **Permissions**: as {@linkcode connectLongPath}.
 *
 * @param options The path, or the path with a mode.
 * @returns The descriptor, and how to remove the file.
 * @throws {TypeError} when an argument has the wrong type.
 * @throws {RangeError} when the name of the file is too long.
 * @throws {Deno.errors.AddrInUse} when a file is at the path.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.NotSupported} on macOS.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example A server at a long path
 * ```ts
 * import { serve } from "@uds/uds";
 * import { bindLongPath, connectLongPath } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const directory = `${await Deno.makeTempDir()}/${"long".repeat(50)}`;
 * await Deno.mkdir(directory);
 *
 * using bound = bindLongPath({ path: `${directory}/app.sock`, mode: 0o660 });
 * await using _server = await serve({ fd: bound.fd }, async () => {});
 * await using conn = await connectLongPath(bound.path);
 * assertEquals(await conn.read(new Uint8Array(1)), null);
 * ```
 *
 * @category Native
 */
export function bindLongPath(options: string | URL | BindLongPathOptions): BoundLongPath {
  return checked(bindLongPath, () => {
    checkArguments("bindLongPath", arguments, 1, "bindLongPath({ path, mode })");
    const given: BindLongPathOptions = withPath(options);
    checkOptions("bindLongPath", given, BIND_CHECKS);
    const path = resolveLongPath(given.path);
    const { mode = DEFAULT_MODE } = given;
    const context = new ErrorContext("bindLongPath", path);
    context.later = socketPermissions("connect", path, {});
    requireRuntime();
    const libc = requireLibc(context);
    let fd: number | undefined;
    try {
      // The file gets the mode of the socket, without the bits of the umask.
      fd = openAt(libc, context, "bind", (socket) => libc.fchmod(socket, mode));
      Deno.chmodSync(path, mode);
    } catch (cause) {
      if (fd !== undefined) libc.close(fd);
      if (cause instanceof Deno.errors.NotCapable) throw cause;
      const isTaken = cause instanceof Deno.errors.AddrInUse;
      throw context.fail(
        cause,
        isTaken ? "a file is there. If no server uses it, remove it first" : undefined,
      );
    }
    const [file, cookie, bound] = [lstat(path), socketCookie(libc, fd), fd];
    const close = () => {
      removeIfSame(path, file);
      // A server may have closed it, and its number may be another file's by now.
      if (socketCookie(libc, bound) === cookie) libc.close(bound);
    };
    return { fd: bound, path, close, [Symbol.dispose]: close };
  });
}
