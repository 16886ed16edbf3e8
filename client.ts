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
  NotASocket,
  NothingListening,
  type SocketError,
  SocketNotFound,
} from "./errors.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import { modeAllows, POLICY, TO_CONNECT } from "./_internal/base/denial.ts";
import { isSameFile, kindOf, octal, ownership } from "./_internal/base/file.ts";
import { mayPrompt } from "./_internal/base/deno_permissions.ts";
import { answerOf } from "./_internal/path/try_connect.ts";
import {
  checkArguments,
  checkBoolean,
  checkInteger,
  checkOptions,
  type Checks,
  checkSignal,
  duration,
  unchecked,
} from "./_internal/base/check.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { ObservedTime } from "./_internal/base/silence.ts";
import { SocketConnection } from "./_internal/connection/socket_connection.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { codeOf } from "./_internal/base/failure.ts";

/** Options of {@linkcode connect}. */
export interface ConnectOptions {
  /** The path of the socket, or an abstract name. */
  path: SocketPath;
  /**
   * Milliseconds for everything: the attempts and the pauses between them. With 0 there is one
   * attempt; `Infinity` is no limit.
   *
   * @default {5000}
   */
  timeout?: number;
  /**
   * Whether to wait for a server that is still starting: to try again, until the time is over, while
   * there is no file, nobody listens, or the file system denies it. A server with a full backlog is waited for in any case.
   *
   * @default {false}
   */
  wait?: boolean;
  /**
   * The user, or the users one of whom must own the socket file: otherwise `InsecurePath`, without a
   * connection. It keeps a program from sending its secrets to somebody else who put a socket there.
   *
   * @default {anyone}
   */
  owner?: number | number[];
  /** Gives up: the promise rejects with the signal's reason, and no connection is left. */
  signal?: AbortSignal;
}

/** The pauses between attempts double from the first to the last, each shortened by up to a half. */
const FIRST_PAUSE_MS = 2;
const LAST_PAUSE_MS = 100;

const DEFAULT_TIMEOUT_MS = 5000;

/** What a server that is still starting may refuse: some set the mode of their file last. */
const STARTING = [SocketNotFound, NothingListening, ConnectDenied];

/**
 * Connects to the server at a path.
 *
 * - One attempt takes microseconds: the kernel answers at once, yes or no. If the server is alive and its
 *   backlog is full, it is tried again until `timeout`; with `wait`, also if the server is not there yet.
 * - A symbolic link to a socket is followed.
 * - If the connection is refused, the error says why: what is at the path, its mode and its owner.
 *
 * **Permissions**: what `permissions("connect", path)` says: read, write and
 * `--allow-net=unix:<path>`; for an abstract name `--allow-net`. On Windows it rejects with
 * `NotSupported`.
 *
 * @param options The path, or the path with options.
 * @returns The connection.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketNotFound} when there is no such file.
 * @throws {NothingListening} when nobody listens on it.
 * @throws {NotASocket} when it is not a stream socket.
 * @throws {ConnectDenied} when the file system does not allow it; with `mode`, `uid` and `gid`.
 * @throws {InsecurePath} when the file belongs to nobody in `owner`.
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
    return await tryToConnect(options);
  } catch (error) {
    throw seenFrom(connect, error);
  }
}

const CHECKS: Checks<ConnectOptions> = {
  path: unchecked,
  timeout: duration(),
  wait: checkBoolean,
  owner(name, value) {
    for (const uid of [value].flat()) checkInteger(name, uid ?? null, 0, 0xffff_ffff);
  },
  signal: checkSignal,
};

/** Checks the options, and tries until the time is over. */
async function tryToConnect(options: SocketPath | ConnectOptions): Promise<Connection> {
  const given: ConnectOptions = typeof options === "string" || options instanceof URL
    ? { path: options }
    : options;
  checkOptions("connect", given, CHECKS);
  const owners = given.owner === undefined ? undefined : [given.owner].flat();
  const context = new ErrorContext("connect", resolveSocketPath(given.path));
  if (owners !== undefined && context.path.startsWith("\0")) {
    throw new TypeError(`${context.start}: an abstract name has no owner to check`);
  }
  requireRuntime();
  const { timeout = DEFAULT_TIMEOUT_MS, wait = false, signal } = given;
  signal?.throwIfAborted();
  // Three queries take a quarter of the time of a connection, and elsewhere Deno's own refusal will do.
  if (mayPrompt()) context.require(permissions("connect", context.path));

  const time = new ObservedTime();
  for (let pause = FIRST_PAUSE_MS;; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
    let refusal: SocketError;
    try {
      const conn = await open(context, owners);
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
      throw context.error(
        ConnectTimeout,
        `no connection within ${timeout} ms. The last attempt: ${refusal.message}`,
        { cause: refusal },
      );
    }
    // At different moments, where many clients wait for one server.
    await time.pause(Math.min(left, pause * (1 - Math.random() / 2)), signal);
  }
}

/** One attempt. */
async function open(context: ErrorContext, owners: number[] | undefined): Promise<Connection> {
  const { path } = context;
  const before = owners && requireOwner(context, owners);
  let conn;
  try {
    conn = await Deno.connect({ transport: "unix", path });
  } catch (cause) {
    throw refusalOf(context, cause);
  }
  if (owners !== undefined) {
    try {
      // Swapped between the look and the connection: the one that was looked at is not the peer.
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

/** Looks at the socket file, and refuses it unless one of the owners owns it. */
function requireOwner(context: ErrorContext, owners: number[]): Deno.FileInfo {
  let info;
  try {
    info = Deno.statSync(context.path);
  } catch (cause) {
    throw refusalOf(context, cause);
  }
  if (info.uid === null || !owners.includes(info.uid)) {
    throw context.error(
      InsecurePath,
      `it belongs to uid ${info.uid}, and only ${owners.join(" or ")} is trusted`,
    );
  }
  return info;
}

/** Why the connection was refused, in the words of whoever has to mend it. */
function refusalOf(context: ErrorContext, cause: unknown): Error {
  const { path } = context;
  if (cause instanceof Deno.errors.NotCapable) {
    context.require(permissions("connect", path), true);
  }
  const info = lookAt(path);
  const other = info !== undefined && !info.isSocket ? kindOf(info) : undefined;
  switch (answerOf(cause)) {
    case "absent":
      return context.error(
        SocketNotFound,
        lookAt(path, Deno.lstatSync)?.isSymlink
          ? "it is a symbolic link that leads to nothing. Start the server there"
          : "there is no such file. Start the server first",
        { cause },
      );
    case "refused":
      if (other !== undefined) return context.error(NotASocket, `it is ${other}`, { cause });
      return context.error(
        NothingListening,
        `nobody listens on it` +
          (info === undefined ? "" : "; the file was left behind by a server that has ended") +
          `. Start the server`,
        { cause },
      );
    case "mistyped":
      return context.error(
        NotASocket,
        `it is a datagram or sequenced-packet socket, and Deno connects to stream sockets`,
        { cause },
      );
    case "denied": {
      // It has neither a file nor a directory, and no mode.
      if (path.startsWith("\0")) return context.error(ConnectDenied, POLICY, { cause });
      if (info === undefined) {
        return context.error(ConnectDenied, `a directory on the way denies it`, { cause });
      }
      const { mode, uid, gid } = ownership(info);
      const rights = `its mode ${octal(mode ?? 0)} and owner ${uid}:${gid}`;
      return context.error(
        ConnectDenied,
        modeAllows(info, TO_CONNECT)
          ? `${rights} would let this process connect, but ${POLICY}`
          : `${rights} do not let this process write, which connecting needs. Run as ` +
            `that user or in that group, or have the server widen the mode`,
        { cause, mode, uid, gid },
      );
    }
    case "alive": {
      const state = "its server is bound to a name that is not UTF-8, which Deno refuses. " +
        "Bind the server to another name";
      return context.fail(cause, state);
    }
    case "full":
      return context.fail(cause, "its backlog is full: the server does not keep up");
    default:
      return context.fail(cause);
  }
}

/** What connecting meets, symbolic links followed unless another look is wanted; an abstract name is no file. */
function lookAt(path: string, look = Deno.statSync): Deno.FileInfo | undefined {
  if (path.startsWith("\0")) return undefined;
  try {
    return look(path);
  } catch {
    // The refusal is told without it.
    return undefined;
  }
}
