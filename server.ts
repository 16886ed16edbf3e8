/**
 * Servers on a path: `listen()` accepts connections one by one, `serve()` runs a handler for each.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath, type UnixAddr } from "./address.ts";
import type { ClaimOptions } from "./claim.ts";
import type { Connection } from "./connection.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkBoolean,
  checkCount,
  checkFunction,
  checkOptions,
  type Checks,
  checkSignal,
  duration,
  integer,
  oneOf,
  unchecked,
  withPath,
} from "./_internal/base/check.ts";
import { contextAt, ErrorContext } from "./_internal/base/error_context.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { lowLatencyFor } from "./_internal/connection/native_slot.ts";
import { FILE_CHECKS, planToListen } from "./_internal/path/claim_options.ts";
import { ConnectionServer } from "./_internal/server/connection_server.ts";
import { Listener } from "./_internal/server/listener.ts";
import { ListeningSocket } from "./_internal/server/listening_socket.ts";
import { Reporter } from "./_internal/server/reporter.ts";

/** A path that a server has lost. */
export interface PathLoss {
  /** The path. */
  readonly path: string;
  /**
   * What is there instead of the server's socket: nothing, another socket, or something else.
   * `"other"` also means that the path cannot be read.
   */
  readonly found: "nothing" | "socket" | "other";
  /** Whether the server binds it again. */
  readonly heals: boolean;
}

/** Options of {@linkcode listen}. */
export interface ListenOptions extends Omit<ClaimOptions, "existing"> {
  /**
   * The path of the socket, or an abstract name. With an abstract name, every other option of
   * these except `signal` is refused.
   */
  path: SocketPath;
  /** A descriptor instead of a path: see {@linkcode ListenFdOptions}. */
  fd?: undefined;
  /**
   * How the socket file gets its name.
   *
   * - `"direct"` binds the path itself.
   * - `"rename"` binds `<path>.new`, secures it, and renames it over the path. A client never meets
   *   a socket that is not ready, and a successor can replace the server without a gap.
   *
   * With `"rename"`, a server that is killed while it starts may leave `<path>.new` and
   * `<path>.lock.new`; the next such start removes them. It needs permissions for both names, and
   * the path may have four bytes fewer.
   *
   * @default {"direct"}
   */
  publish?: "direct" | "rename" | undefined;
  /**
   * What to do if a socket file exists.
   *
   * - `"reclaim"` removes it if it is stale: no process holds its lock, and it refuses two
   *   connections, 100 ms apart.
   * - `"fail"` rejects with `SocketInUse`.
   * - `"replace"` takes over the path from a running server. That must be a server of this package
   *   and of the same user, and must have `publish: "rename"` too. Otherwise it is the same as
   *   `"reclaim"`.
   *
   * During a takeover no client is refused. The old server notices within 250 ms, serves the
   * clients that had reached it, and ends: see `onReplaced`. If the new server fails before it
   * listens, the old one goes on. Taking over a path (`"replace"`) is experimental.
   *
   * A file that is not a socket is never touched. Neither is the socket of a running server that
   * does not use the lock.
   *
   * @default {"reclaim"}
   */
  existing?: "reclaim" | "fail" | "replace" | undefined;
  /**
   * Whether to bind the path again after its socket file was removed. No connection is dropped, and
   * another file is never displaced. It needs `publish: "rename"`.
   *
   * Without it, the path is still bound again if a successor is killed during its takeover.
   *
   * @experimental
   * @default {false}
   */
  selfHeal?: boolean | undefined;
  /**
   * Called once, when a successor with `existing: "replace"` has taken over the path. You need not
   * do anything: a server shuts itself down. A listener returns the clients that had reached it,
   * and closes.
   *
   * - Emptying its backlog takes some seconds, longer if the process is busy. Then `draining`
   *   aborts, and handlers have 5 seconds to finish. For another deadline, call `shutdown({ timeout
   *   })` here.
   *
   * @experimental
   */
  onReplaced?: (() => void) | undefined;
  /**
   * Called within a second when the path no longer leads to this server, because its socket file
   * was removed or replaced: once for each loss. Open connections go on.
   *
   * @default {prints a line on standard error}
   */
  onPathLost?: ((loss: PathLoss) => void) | undefined;
  /**
   * Whether descriptors can be sent and received over the accepted connections, by
   * `sendDescriptors()` and `receiveDescriptors()` of `@uds/uds/native`. The program must import
   * that module, and needs `--allow-ffi`.
   *
   * @default {false}
   */
  descriptors?: boolean | undefined;
  /**
   * Whether a read of an accepted connection looks for bytes for some microseconds before it waits:
   * see `lowLatency()` of `@uds/uds/native`, for when this pays. The program must import that
   * module, and needs `--allow-ffi`. If its descriptor cannot be found, the connection stays as it
   * is.
   *
   * @default {false}
   */
  lowLatency?: boolean | undefined;
  /** Closes the listener, or shuts down the server. Before it listens, the promise rejects. */
  signal?: AbortSignal | undefined;
}

/** Options of {@linkcode listen} at a descriptor that another process opened. */
export interface ListenFdOptions {
  /**
   * The number of a descriptor that this process was given, for example by `listenFds()`: a Unix
   * stream socket that is listening, or bound.
   *
   * - It has a path already, or none. Nothing is locked, created, watched or removed, and `addr`
   *   has no path. Every option about a file is refused.
   * - Closing closes the descriptor in this process. If another process has it too, clients go on
   *   connecting: they wait for the next process that accepts there.
   * - It works only in the main thread. Pass only a number that the parent has agreed on. A
   *   descriptor that is refused stays open.
   * - At most a few dozen clients are accepted before there is room for them. They wait in this
   *   process, all others in the backlog.
   */
  fd: number;
  /** A path instead of a descriptor: see {@linkcode ListenOptions}. */
  path?: undefined;
  /**
   * Whether descriptors can be sent and received over the accepted connections: see {@linkcode
   * ListenOptions.descriptors}.
   *
   * @default {false}
   */
  descriptors?: boolean | undefined;
  /**
   * Whether a read looks for bytes before it waits: see {@linkcode ListenOptions.lowLatency}.
   *
   * @default {false}
   */
  lowLatency?: boolean | undefined;
  /** Closes the listener, or shuts down the server. Before it listens, the promise rejects. */
  signal?: AbortSignal | undefined;
}

/** A listener that owns its path. `for await` over it ends when it closes. */
export interface UnixListener extends AsyncIterable<Connection>, AsyncDisposable {
  /** The address that clients connect to. */
  readonly addr: UnixAddr;
  /**
   * Accepts a connection. Several calls may wait: the first one is served first.
   *
   * - If the process or the system runs out of descriptors, it waits until one is free.
   *
   * @returns The connection. Close it when you are done.
   * @throws {Deno.errors.BadResource} when the listener is closed, or closes meanwhile.
   * @throws {SocketError} when accepting fails for good.
   */
  accept(): Promise<Connection>;
  /**
   * Stops listening. Removes the socket file, if it is still the one that was bound, and then the
   * lock. Idempotent; disposal does the same.
   *
   * - Accepted connections go on. Those in the backlog are reset; to serve them first, use
   *   `serve()` and its `shutdown()`.
   *
   * @throws {SocketError} when a file cannot be removed; the listener closes all the same.
   */
  close(): Promise<void>;
  /** Keeps the process running while an `accept` is pending. This is the default. */
  ref(): void;
  /** Allows the process to exit while an `accept` is pending. */
  unref(): void;
}

/**
 * Listens on a path that only this process owns.
 *
 * - When it resolves, the socket is ready and has its mode and its owner. By default only its owner
 *   can connect, from the first instant. Where the file must be created with a wider mode (see
 *   `permissions()` on the umask), clients that connect before its mode is set are dropped
 *   unserved.
 * - A stale socket file is replaced. A running server never is, whatever program it is (see
 *   `claim()`), unless both sides agree to it: see `existing`.
 * - The path is watched: see `onPathLost`, `selfHeal` and `onReplaced`. The watch does not keep the
 *   process running.
 * - The backlog is Deno's: 1,024 connections. Further clients are refused with `EAGAIN`, and
 *   `connect()` retries.
 * - With `fd` it listens at a descriptor that another process opened, such as systemd: see
 *   {@linkcode ListenFdOptions}.
 *
 * **Permissions**: what `permissions("serve", path, options)` returns.
 * - Read and write for the path and for `<path>.lock`, and `--allow-net=unix:<path>`.
 * - With `publish: "rename"`, also read and write for `<path>.new` and `<path>.lock.new`, and
 *   `--allow-net=unix:<path>.new`.
 * - For an abstract name, `--allow-net`. For `fd`, none.
 *
 * On Windows it rejects with `NotSupported`.
 *
 * @param options The path, or the path or a descriptor with options.
 * @returns The listener.
 * @throws {TypeError} when an argument has the wrong type.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when a running process holds the path.
 * @throws {NotASocket} when the path leads to something else, or the descriptor is another one.
 * @throws {ConnectDenied} when this process may not connect to the socket that is there.
 * @throws {InsecurePath} when the lock file is another program's, or the directory is not safe to
 * use.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.PermissionDenied} when this process may not create a file in the directory,
 * or may not give it to the user or the group.
 * @throws {Deno.errors.Busy} when this process uses the descriptor already.
 * @throws {Deno.errors.NotSupported} on Windows, before Deno 2.9.5, and for `fd` in a worker.
 * @throws {unknown} the reason of `signal` when it aborts before the server listens.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Usage
 * ```ts
 * import { connect, listen } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * await using listener = await listen({ path, mode: 0o660 });
 *
 * const client = await connect(path);
 * const server = await listener.accept();
 * await server.write(new TextEncoder().encode("hello"));
 * server.close();
 * assertEquals(await new Response(client.readable).text(), "hello");
 * client.close();
 * ```
 */
export async function listen(
  options: SocketPath | ListenOptions | ListenFdOptions,
): Promise<UnixListener> {
  try {
    checkArguments("listen", arguments, 1, "listen({ path, mode })");
    return await openListener(options);
  } catch (error) {
    throw seenFrom(listen, error);
  }
}

const LISTEN_CHECKS: Checks<ListenOptions> = {
  path: unchecked,
  fd: integer(0, 0x7fff_ffff),
  ...FILE_CHECKS,
  descriptors: checkBoolean,
  lowLatency: checkBoolean,
  signal: checkSignal,
};

async function openListener(
  options: SocketPath | ListenOptions | ListenFdOptions,
): Promise<UnixListener> {
  const given = withPath(options);
  checkOptions("listen", given, LISTEN_CHECKS);
  return new Listener(await openSocket("listen", given));
}

/** Opens the socket of a call with checked options. */
async function openSocket(
  operation: "listen" | "serve",
  given: ServeOptions | ServeFdOptions,
): Promise<ListeningSocket> {
  const reporter = new Reporter(given);
  if (given.fd === undefined) {
    const context = new ErrorContext(operation, resolveSocketPath(given.path));
    const plan = planToListen(context, given);
    const prepare = lowLatencyFor(context, given);
    const socket = await ListeningSocket.open(plan, reporter, given);
    return Object.assign(socket, { prepare });
  }
  const ofFile = Object.entries(given).find(([name, value]) =>
    value !== undefined && (name === "path" || Object.hasOwn(FILE_CHECKS, name))
  );
  if (ofFile !== undefined) {
    throw new TypeError(`Invalid ${ofFile[0]}: the socket of fd has its path and its file already`);
  }
  requireRuntime();
  given.signal?.throwIfAborted();
  const { fd, signal } = given;
  const prepare = lowLatencyFor(contextAt(fd)(operation), given);
  const socket = ListeningSocket.openGiven(operation, fd, signal, reporter, given);
  return Object.assign(socket, { prepare });
}

/** The state of the server, for its handlers. Every call gets the same object. */
export interface ServeHandlerInfo {
  /** Aborts when the server shuts down: finish what you have begun, and begin nothing new. */
  readonly draining: AbortSignal;
  /** Aborts at the deadline of the shutdown, before the remaining connections close. */
  readonly signal: AbortSignal;
}

/**
 * Serves one connection. When its promise settles, pending writes are flushed and the connection
 * closes.
 */
export type ServeHandler = (conn: Connection, info: ServeHandlerInfo) => Promise<unknown>;

/** Options of {@linkcode serve}. */
export interface ServeOptions extends ListenOptions {
  /**
   * The maximum number of connections that are served at the same time. Further ones wait in the
   * backlog, unless `overflow` refuses them.
   *
   * @default {Infinity}
   */
  maxConnections?: number | undefined;
  /**
   * What happens to a client beyond `maxConnections`.
   *
   * - `"wait"` leaves it in the backlog until another connection ends.
   * - `"refuse"` accepts it and closes it at once: see `onRefuse`. During a shutdown, the clients
   *   of the backlog wait for a handler nevertheless.
   *
   * @default {"wait"}
   */
  overflow?: "wait" | "refuse" | undefined;
  /**
   * Called with each connection that `overflow: "refuse"` refuses. It may write a last text, which
   * is flushed before the connection closes.
   *
   * - It has one second. Then the connection closes, and `onError` is called.
   * - A client that has sent something gets `ConnectionReset` after the text, not the end of file.
   *   One that writes after the close gets `BrokenPipe`, and can still read the text.
   * - At most 64 connections are refused at the same time. Further clients wait in the backlog.
   *
   * @default {closes the connection without a word}
   */
  onRefuse?: ((conn: Connection, info: ServeHandlerInfo) => unknown) | undefined;
  /**
   * Decides whether a connection reaches the handler. Unless it returns `true`, or a promise of it,
   * the connection closes.
   *
   * - It may read from the connection, for example a password. The handler gets the bytes that it
   *   left.
   * - It may write to it. Await that, because the connection closes at once if it returns `false`.
   * - Meanwhile the connection counts in `maxConnections`. It is also called for clients that a
   *   shutdown accepts from the backlog.
   * - If it throws, or takes longer than `authorizeTimeout`, `onError` is called as well.
   * - To admit some users or groups, use `allow()` of `@uds/uds/native`.
   *
   * @default {admits every client that the socket file admits}
   */
  authorize?:
    | ((conn: Connection, info: ServeHandlerInfo) => boolean | Promise<boolean>)
    | undefined;
  /**
   * How long, in milliseconds, `authorize` may take, its reads and writes included.
   *
   * @default {5000}
   */
  authorizeTimeout?: number | undefined;
  /**
   * How long, in milliseconds, a read may wait for data before it rejects with
   * `Deno.errors.TimedOut` and the connection closes. Time spent in the handler does not count.
   *
   * @default {Infinity}
   */
  idleTimeout?: number | undefined;
  /**
   * How long, in milliseconds, a read may wait for the first byte of a connection. It replaces
   * `idleTimeout` until then: a client that has never sent anything occupies one of
   * `maxConnections`, and can get less time than a client that pauses between two requests.
   *
   * @default {idleTimeout}
   */
  firstByteTimeout?: number | undefined;
  /**
   * How long, in milliseconds, a write may wait while the client reads nothing. Then it rejects
   * with `Deno.errors.TimedOut`, with the rest as `unsent`, and the connection closes. A slow
   * reader is not closed. Unlimited by default, because a client may have a reason to pause.
   *
   * @default {Infinity}
   */
  writeTimeout?: number | undefined;
  /** Called once, with the address, when the server listens. */
  onListen?: ((addr: UnixAddr) => void) | undefined;
  /**
   * Called with each failure. The server goes on, even if this throws.
   *
   * - With `info`: a handler has rejected, or `authorize` or `onRefuse` has failed.
   * - Without: the server failed to accept (reported once until it works again), to bind a lost
   *   path again, or to shut itself down.
   *
   * @default {prints a line for a failure of the system, or the error with its stack, on standard
   * error: at most one a second of each kind, with a count of the others}
   */
  onError?: ((error: unknown, info?: ServeHandlerInfo) => void) | undefined;
}

/** Options of {@linkcode serve} at a descriptor that another process opened. */
export interface ServeFdOptions extends ListenFdOptions, Omit<ServeOptions, keyof ListenOptions> {}

/** Options of {@linkcode UnixServer.shutdown}. */
export interface ShutdownOptions {
  /**
   * How long, in milliseconds, to wait before closing the remaining connections. With 0, all close
   * at once, queued ones included. With `Infinity`, every handler may finish.
   *
   * @default {5000}
   */
  timeout?: number | undefined;
}

/** The result of a shutdown. */
export interface ShutdownResult {
  /** How many handlers finished during the shutdown. */
  completed: number;
  /** How many connections were closed at the deadline. */
  aborted: number;
}

/** A running server. Disposing of it shuts it down. */
export interface UnixServer extends AsyncDisposable {
  /** The address that clients connect to. */
  readonly addr: UnixAddr;
  /**
   * The number of open connections. During a shutdown it includes those that wait for a handler.
   */
  readonly connections: number;
  /**
   * Resolves when the server has ended. Rejects if accepting failed for good, or if the shutdown
   * failed.
   */
  readonly finished: Promise<void>;
  /**
   * Shuts down without losing a client that has reached the server.
   *
   * 1. The socket file is removed, so no new client comes. (An abstract name lasts until the
   *    listener closes; clients that connect in between may be reset. At a descriptor, clients that
   *    come later than half a second are left to the next process that has it.)
   * 2. The clients in the backlog are accepted and served, within `maxConnections`.
   * 3. The listener closes and the lock is released: a successor may start.
   * 4. `draining` aborts, and the handlers have until the deadline to finish.
   * 5. `signal` aborts, and the remaining connections close.
   *
   * A second call returns the promise of the first one, whatever its options.
   *
   * @param options How long the handlers have.
   * @returns How many handlers finished, and how many connections were closed.
   * @throws {SocketError} when a file cannot be removed; everything else is done all the same.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownResult>;
  /** Keeps the process running while the server listens. This is the default. */
  ref(): void;
  /** Allows the process to exit while the server is listening. */
  unref(): void;
}

/**
 * Serves every connection to a path with a handler.
 *
 * - The path is owned, or the descriptor used, as by {@linkcode listen}. When the promise resolves,
 *   the server is ready.
 * - **Failures stay with their connection**: if a handler rejects or throws, `onError` is called,
 *   the connection closes, and the server goes on. It also goes on when descriptors run out.
 * - **Access**: the mode of the socket file admits users. `authorize` admits connections.
 * - **Limits**: `maxConnections`, `idleTimeout`, `firstByteTimeout`, `writeTimeout`. `messages()`
 *   and its codecs limit messages. Bytes need no limit: the kernel blocks a fast client until the
 *   handler reads.
 * - **Timeouts** count observed silence. If this process was suspended, it reads the data that came
 *   meanwhile before it closes a connection.
 * - **Shutdown** is {@linkcode UnixServer.shutdown}. A process that exits without it leaves its
 *   files behind, and the next start removes them. No signal handlers are installed:
 *   `shutdownOnSignal()` does that.
 *
 * **Permissions**: those of {@linkcode listen}. On Windows it rejects with `NotSupported`.
 *
 * @param options The path, or the path or a descriptor with options.
 * @param handler Serves one connection.
 * @returns The server.
 * @throws {TypeError} when an argument has the wrong type.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when a running process holds the path.
 * @throws {NotASocket} when the path leads to something else, or the descriptor is another one.
 * @throws {ConnectDenied} when this process may not connect to the socket that is there.
 * @throws {InsecurePath} when the lock file is another program's, or the directory is not safe to
 * use.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.PermissionDenied} when this process may not create a file in the directory,
 * or may not give it to the user or the group.
 * @throws {Deno.errors.Busy} when this process uses the descriptor already.
 * @throws {Deno.errors.NotSupported} on Windows, before Deno 2.9.5, and for `fd` in a worker.
 * @throws {unknown} the reason of `signal` when it aborts before the server listens.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example An echo server
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/echo.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await conn.readable.pipeTo(conn.writable);
 * });
 *
 * await using conn = await connect(path);
 * await conn.write(new TextEncoder().encode("hello"));
 * await conn.closeWrite();
 * assertEquals(await new Response(conn.readable).text(), "hello");
 * ```
 */
export async function serve(
  options: SocketPath | ServeOptions | ServeFdOptions,
  handler: ServeHandler,
): Promise<UnixServer> {
  try {
    checkArguments("serve", arguments, 2, "serve({ path, mode }, handler)");
    return await openServer(options, handler);
  } catch (error) {
    throw seenFrom(serve, error);
  }
}

const SERVE_CHECKS: Checks<ServeOptions> = {
  ...LISTEN_CHECKS,
  maxConnections: checkCount,
  overflow: oneOf("wait", "refuse"),
  onRefuse: checkFunction,
  authorize: checkFunction,
  authorizeTimeout: duration(1),
  idleTimeout: duration(1),
  firstByteTimeout: duration(1),
  writeTimeout: duration(1),
  onListen: checkFunction,
  onError: checkFunction,
};

async function openServer(
  options: SocketPath | ServeOptions | ServeFdOptions,
  handler: ServeHandler,
): Promise<UnixServer> {
  const given = withPath(options);
  checkOptions("serve", given, SERVE_CHECKS);
  checkFunction("handler", handler);
  if (given.overflow === "refuse" && given.maxConnections === undefined) {
    throw new TypeError('Invalid overflow: "refuse": it needs maxConnections');
  }
  if (given.onRefuse !== undefined && given.overflow !== "refuse") {
    throw new TypeError('Invalid onRefuse: it needs overflow: "refuse"');
  }
  return new ConnectionServer(await openSocket("serve", given), handler, given);
}
