/**
 * Servers on a path: `listen()` accepts connections one by one, `serve()` runs a handler for each.
 *
 * @module
 */

import type { SocketPath, UnixAddr } from "./address.ts";
import type { Connection } from "./connection.ts";
import { LISTEN_CHECKS, type ListenFdOptions, type ListenOptions, openSocket } from "./listener.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkCount,
  checkFunction,
  checkOptions,
  type Checks,
  duration,
  oneOf,
  withPath,
} from "./_internal/base/check.ts";
import { ConnectionServer } from "./_internal/server/connection_server.ts";
import { Reporter } from "./_internal/server/reporter.ts";
import type { ServeHandler, ServeHandlerInfo, UnixServer } from "./_internal/server/serving.ts";

export {
  listen,
  type ListenFdOptions,
  type ListenOptions,
  type PathLoss,
  type UnixListener,
} from "./listener.ts";
export type {
  ServeHandler,
  ServeHandlerInfo,
  ShutdownOptions,
  ShutdownResult,
  UnixServer,
} from "./_internal/server/serving.ts";

/**
 * Options of {@linkcode serve}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode ListenOptions.path | path}: The path of the socket, or an abstract name.
 * - {@linkcode ListenOptions.publish | publish}: How the socket file gets its name.
 * - {@linkcode ListenOptions.existing | existing}: What to do if a socket file exists.
 * - {@linkcode ListenOptions.selfHeal | selfHeal}: Whether to bind the path again after its socket
 *   file was removed.
 * - {@linkcode ListenOptions.onReplaced | onReplaced}: Called once, when a successor with
 *   `existing: "replace"` has taken over the path.
 * - {@linkcode ListenOptions.onPathLost | onPathLost}: Called when the path no longer leads to this
 *   server, because its socket file was removed or replaced: once for each loss.
 * - {@linkcode ListenOptions.descriptors | descriptors}: Whether descriptors can be sent and
 *   received over the accepted connections, by `sendDescriptors()` and `receiveDescriptors()` of
 *   `@uds/uds/native`.
 * - {@linkcode ListenOptions.lowLatency | lowLatency}: Whether a read of an accepted connection
 *   looks for bytes for some microseconds before it waits: see `lowLatency()` of `@uds/uds/native`,
 *   for when this pays.
 * - {@linkcode ListenOptions.backlog | backlog}: The maximum number of clients that wait to be
 *   accepted.
 * - {@linkcode ListenOptions.signal | signal}: Closes the listener, or shuts down the server.
 * - {@linkcode ClaimOptions.mode | mode}: The permission bits of the socket file, at most `0o777`,
 *   with the owner's write bit.
 * - {@linkcode ClaimOptions.uid | uid}: The user that owns the socket file.
 * - {@linkcode ClaimOptions.gid | gid}: The group of the socket file.
 * - {@linkcode ClaimOptions.createDirectory | createDirectory}: Whether to create the directory of
 *   the socket, and missing ones above it, with mode 0700.
 * - {@linkcode ClaimOptions.verifyDirectory | verifyDirectory}: Whether to reject with
 *   `InsecurePath` unless the directory of the socket is safe: no other user can put another file
 *   in the place of the socket.
 *
 * @category Servers
 */
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
   * error: at most one a second of each kind, with a count of the others. Nothing is printed when
   * a client closed before it had read everything, unless bytes were unsent}
   */
  onError?: ((error: unknown, info?: ServeHandlerInfo) => void) | undefined;
}

/**
 * Options of {@linkcode serve} at a descriptor that another process opened.
 *
 * It has:
 *
 * - {@linkcode ListenFdOptions.fd | fd}: The number of a descriptor that this process was given,
 *   for example by `listenFds()`: a Unix stream socket that is listening, or bound.
 * - {@linkcode ListenFdOptions.descriptors | descriptors}: Whether descriptors can be sent and
 *   received over the accepted connections: see `ListenOptions.descriptors`.
 * - {@linkcode ListenFdOptions.lowLatency | lowLatency}: Whether a read looks for bytes before it
 *   waits: see `ListenOptions.lowLatency`.
 * - {@linkcode ListenFdOptions.signal | signal}: Closes the listener, or shuts down the server.
 * - {@linkcode ServeOptions.maxConnections | maxConnections}: The maximum number of connections
 *   that are served at the same time.
 * - {@linkcode ServeOptions.overflow | overflow}: What happens to a client beyond `maxConnections`.
 * - {@linkcode ServeOptions.onRefuse | onRefuse}: Called with each connection that `overflow:
 *   "refuse"` refuses.
 * - {@linkcode ServeOptions.authorize | authorize}: Decides whether a connection reaches the
 *   handler.
 * - {@linkcode ServeOptions.authorizeTimeout | authorizeTimeout}: How long, in milliseconds,
 *   `authorize` may take, its reads and writes included.
 * - {@linkcode ServeOptions.idleTimeout | idleTimeout}: How long, in milliseconds, a read may wait
 *   for data before it rejects with `Deno.errors.TimedOut` and the connection closes.
 * - {@linkcode ServeOptions.firstByteTimeout | firstByteTimeout}: How long, in milliseconds, a read
 *   may wait for the first byte of a connection.
 * - {@linkcode ServeOptions.writeTimeout | writeTimeout}: How long, in milliseconds, a write may
 *   wait while the client reads nothing.
 * - {@linkcode ServeOptions.onListen | onListen}: Called once, with the address, when the server
 *   listens.
 * - {@linkcode ServeOptions.onError | onError}: Called with each failure.
 *
 * @category Servers
 */
export interface ServeFdOptions extends ListenFdOptions, Omit<ServeOptions, keyof ListenOptions> {}

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
 * @throws {TypeError} when an argument has the wrong type, or `bind()` of a claim in this process
 * is opening the path.
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
 * @throws {Error} with `code` `"EMFILE"` when this process has no descriptor left, and `"EROFS"`
 * when the file system is read-only.
 * @throws {Deno.errors.NotSupported} on Windows, before Deno 2.9.5, for `fd` in a worker, and under
 * a umask that takes permissions from the owner.
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
 * await conn.writeText("hello");
 * await conn.closeWrite();
 * assertEquals(await new Response(conn.readable).text(), "hello");
 * ```
 *
 * @category Servers
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
  return new ConnectionServer(
    await openSocket("serve", given, new Reporter(given)),
    handler,
    given,
  );
}
