/**
 * Connecting to a server.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import { permissions } from "./permissions.ts";
import type { Connection } from "./connection.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkBoolean,
  checkOptions,
  type Checks,
  checkSignal,
  checkUsers,
  duration,
  unchecked,
  withPath,
} from "./_internal/base/check.ts";
import { mayPrompt } from "./_internal/base/deno_permissions.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import {
  connectNatively,
  descriptorSockets,
  lowLatencyFor,
} from "./_internal/connection/native_slot.ts";
import { SocketConnection, type Transport } from "./_internal/connection/socket_connection.ts";
import { connectRefusal } from "./_internal/path/connect_refusal.ts";
import { connectWithin } from "./_internal/path/connect_tries.ts";

/**
 * Options of {@linkcode connect}.
 *
 * @category Clients
 */
export interface ConnectOptions {
  /** The path of the socket, or an abstract name. */
  path: SocketPath;
  /**
   * How long, in milliseconds, to try. With 0, `connect` tries once. With `Infinity`, it tries
   * without a limit.
   *
   * @default {5000}
   */
  timeout?: number | undefined;
  /**
   * Whether to wait for a server that is still starting: to try again while the file does not
   * exist, no server listens on it, or the file system denies access. While the backlog is
   * full, `connect` tries again with or without this option.
   *
   * @default {false}
   */
  wait?: boolean | undefined;
  /**
   * The user, or a list of users, that must own the socket file. Any other owner is refused with
   * `InsecurePath`, so secrets never reach an impostor.
   *
   * @default {any user}
   */
  owner?: number | number[] | undefined;
  /**
   * Whether descriptors can be sent and received, by `sendDescriptors()` and
   * `receiveDescriptors()` of `@uds/uds/native`. The program must import that module, and needs
   * `--allow-ffi`.
   *
   * @default {false}
   */
  descriptors?: boolean | undefined;
  /**
   * Whether a read looks for bytes for some microseconds before it waits: see `lowLatency()` of
   * `@uds/uds/native`, for when this pays. The program must import that module, and needs
   * `--allow-ffi`. If its descriptor cannot be found, the connection stays as it is.
   *
   * @default {false}
   */
  lowLatency?: boolean | undefined;
  /** Stops trying. The promise rejects with the signal's reason, and no connection is left open. */
  signal?: AbortSignal | undefined;
}

/**
 * Connects to the server at a path.
 *
 * - One try takes microseconds, because the kernel answers at once. If the backlog of the server is
 *   full, `connect` tries again until `timeout`. With `wait`, it also tries again while the server
 *   is not there yet.
 * - A symbolic link to a socket is followed.
 * - If the connection is refused, the error says why: what is at the path, its mode and its owner.
 *
 * **Permissions**: what `permissions("connect", path)` returns: read, write and
 * `--allow-net=unix:<path>`; for an abstract name `--allow-net`. On Windows it rejects with
 * `NotSupported`.
 *
 * @param options The path, or the path with options.
 * @returns The connection.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketNotFound} when the file does not exist.
 * @throws {NothingListening} when no server listens on it.
 * @throws {NotASocket} when it is not a stream socket.
 * @throws {ConnectDenied} when the file system does not allow it; with `mode`, `uid` and `gid`.
 * @throws {InsecurePath} when no user in `owner` owns the file.
 * @throws {ConnectTimeout} when the time is over; the last refusal is the `cause`.
 * @throws {Deno.errors.WouldBlock} when the backlog is full and `timeout` is 0.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.FilesystemLoop} when it has too many symbolic links.
 * @throws {Error} with `code` `"EMFILE"` when this process has no descriptor left.
 * @throws {Deno.errors.NotSupported} on Windows, and before Deno 2.9.5.
 * @throws {unknown} the reason of `signal` when it aborts.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Usage
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/greeter.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await conn.writeText("hello\n");
 * });
 *
 * await using conn = await connect({ path, wait: true, timeout: 1000 });
 * assertEquals(await new Response(conn.readable).text(), "hello\n");
 * ```
 *
 * @category Clients
 */
export async function connect(options: SocketPath | ConnectOptions): Promise<Connection> {
  try {
    checkArguments("connect", arguments, 1, "connect({ path, timeout })");
    return await checkAndConnect(options);
  } catch (error) {
    throw seenFrom(connect, error);
  }
}

const CHECKS: Checks<ConnectOptions> = {
  path: unchecked,
  timeout: duration(),
  wait: checkBoolean,
  owner: checkUsers,
  descriptors: checkBoolean,
  lowLatency: checkBoolean,
  signal: checkSignal,
};

async function checkAndConnect(options: SocketPath | ConnectOptions): Promise<Connection> {
  const given: ConnectOptions = withPath(options);
  // A path alone is checked below. This takes half of the time of a program's first connections.
  if (given === options) checkOptions("connect", given, CHECKS);
  const context = new ErrorContext("connect", resolveSocketPath(given.path));
  const { path } = context;
  if (given.owner !== undefined && path.startsWith("\0")) {
    throw new TypeError(`${context.start}: an abstract name has no owner to check`);
  }
  requireRuntime();
  given.signal?.throwIfAborted();
  // Three queries take a quarter of the time of a connection. Unless Deno may prompt, its own
  // refusal will do.
  if (given.descriptors || given.lowLatency) context.later = permissions("connect", path);
  const descriptors = descriptorSockets(context, given);
  const lowLatency = lowLatencyFor(context, given);
  if (descriptors !== undefined || mayPrompt()) context.require(permissions("connect", path));
  const raw = await connectWithin<Transport | Deno.UnixConn>(context, given, {
    open: () => descriptors?.connect(path) ?? connectNatively(path),
    refusal: (cause) => refusalOf(context, cause),
  });
  const conn = new SocketConnection(raw, {
    localAddr: { transport: "unix", path: "localAddr" in raw ? raw.localAddr.path : null },
    remoteAddr: { transport: "unix", path },
  });
  lowLatency(conn);
  return conn;
}

/**
 * Returns the error for a refused connection. Throws `NotCapable` if a Deno permission is missing.
 */
function refusalOf(context: ErrorContext, cause: unknown): Error {
  if (cause instanceof Deno.errors.NotCapable) {
    context.require(permissions("connect", context.path), true);
  }
  return connectRefusal(context, cause);
}
