/**
 * Connecting to a server.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "./address.ts";
import { permissions } from "./permissions.ts";
import type { Connection } from "./connection.ts";
import {
  ConnectDenied,
  ConnectTimeout,
  InsecurePath,
  NothingListening,
  type SocketError,
  SocketNotFound,
} from "./errors.ts";
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
import { codeOf } from "./_internal/base/failure.ts";
import { isSameFile } from "./_internal/base/file.ts";
import { GrowingPauses } from "./_internal/base/growing_pauses.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { ObservedTime } from "./_internal/base/silence.ts";
import { connectNatively } from "./_internal/connection/native_slot.ts";
import { SocketConnection } from "./_internal/connection/socket_connection.ts";
import { connectRefusal } from "./_internal/path/connect_refusal.ts";

/** Options of {@linkcode connect}. */
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
  /** Stops trying. The promise rejects with the signal's reason, and no connection is left open. */
  signal?: AbortSignal | undefined;
}

/** The pauses between two tries: one try takes microseconds. */
const FIRST_PAUSE_MS = 2;
const LAST_PAUSE_MS = 100;

const DEFAULT_TIMEOUT_MS = 5000;

/**
 * The refusals of a server that is still starting. Some servers set the mode of their file last.
 */
const STARTING = [SocketNotFound, NothingListening, ConnectDenied];

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
 *   await conn.write(new TextEncoder().encode("hello\n"));
 * });
 *
 * await using conn = await connect({ path, wait: true, timeout: 1000 });
 * assertEquals(await new Response(conn.readable).text(), "hello\n");
 * ```
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
  signal: checkSignal,
};

async function checkAndConnect(options: SocketPath | ConnectOptions): Promise<Connection> {
  const given: ConnectOptions = withPath(options);
  checkOptions("connect", given, CHECKS);
  const owners = given.owner === undefined ? undefined : [given.owner].flat();
  const context = new ErrorContext("connect", resolveSocketPath(given.path));
  if (owners !== undefined && context.path.startsWith("\0")) {
    throw new TypeError(`${context.start}: an abstract name has no owner to check`);
  }
  requireRuntime();
  const { timeout = DEFAULT_TIMEOUT_MS, wait = false, signal } = given;
  signal?.throwIfAborted();
  // Three queries take a quarter of the time of a connection. Unless Deno may prompt, its own
  // refusal will do.
  if (mayPrompt()) context.require(permissions("connect", context.path));

  const time = new ObservedTime();
  const pauses = new GrowingPauses(FIRST_PAUSE_MS, LAST_PAUSE_MS);
  for (;;) {
    let refusal: SocketError;
    try {
      const conn = await connectOnce(context, owners);
      if (!signal?.aborted) return conn;
      conn.close();
      throw signal.reason;
    } catch (error) {
      signal?.throwIfAborted();
      const again = codeOf(error) === "EAGAIN" ||
        wait && STARTING.some((Class) => error instanceof Class);
      if (!again || timeout === 0) throw error;
      refusal = error as SocketError;
    }
    const left = timeout - time.elapsed;
    if (left <= 0) {
      const state = `no connection within ${timeout} ms. The last attempt: ${refusal.message}`;
      throw context.error(ConnectTimeout, state, { cause: refusal });
    }
    await time.pause(Math.min(left, pauses.next()), signal);
  }
}

async function connectOnce(
  context: ErrorContext,
  owners: number[] | undefined,
): Promise<Connection> {
  const { path } = context;
  const before = owners && requireOwner(context, owners);
  let conn;
  try {
    conn = await connectNatively(path);
  } catch (cause) {
    throw refusalOf(context, cause);
  }
  if (owners !== undefined) {
    try {
      // If the file was replaced after the first look, the peer is not the server that was checked.
      if (!isSameFile(before ?? null, requireOwner(context, owners))) {
        throw context.error(InsecurePath, "the file was replaced while connecting. Try again");
      }
    } catch (error) {
      conn.close();
      throw error;
    }
  }
  return new SocketConnection(conn, {
    localAddr: { transport: "unix", path: conn.localAddr.path },
    remoteAddr: { transport: "unix", path },
  });
}

/** Describes the socket file. Throws unless one of the owners owns it. */
function requireOwner(context: ErrorContext, owners: number[]): Deno.FileInfo {
  let info;
  try {
    info = Deno.statSync(context.path);
  } catch (cause) {
    throw refusalOf(context, cause);
  }
  if (info.uid === null || !owners.includes(info.uid)) {
    const state = `it belongs to uid ${info.uid}, and only ${owners.join(" or ")} is trusted`;
    throw context.error(InsecurePath, state);
  }
  return info;
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
