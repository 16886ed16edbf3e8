/**
 * Listening on a path: `listen()` gives connections one by one, `serve()` runs a handler for each.
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
  oneOf,
  unchecked,
} from "./_internal/base/check.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { CLAIM_CHECKS, claimDefaults, requireClaimable } from "./_internal/path/claim_options.ts";
import { ConnectionServer } from "./_internal/server/connection_server.ts";
import { Listener } from "./_internal/server/listener.ts";
import { ListeningSocket } from "./_internal/server/listening_socket.ts";

/** What is at a path that a server has lost. */
export interface PathLoss {
  /** The path. */
  readonly path: string;
  /**
   * What is there instead of the server's socket: nothing, another socket, or something else.
   * `"other"` also stands for what cannot be looked at.
   */
  readonly found: "nothing" | "socket" | "other";
  /** Whether the server binds it again. */
  readonly heals: boolean;
}

/** Options of {@linkcode listen}. */
export interface ListenOptions extends Omit<ClaimOptions, "existing"> {
  /** The path of the socket, or an abstract name, which none of the other options but `signal` fits. */
  path: SocketPath;
  /**
   * How the socket file gets its name.
   *
   * - `"direct"` binds the path itself.
   * - `"rename"` binds `<path>.new`, secures it, and renames it over the path: no client ever meets a
   *   socket that is not ready, and a successor may replace the server without a gap. A server that is
   *   killed while it starts may leave that file and `<path>.lock.new`, which the next start with
   *   `"rename"` removes. It needs permissions for those names too, and the path may have four bytes less.
   *
   * @default {"direct"}
   */
  publish?: "direct" | "rename";
  /**
   * What to do about a socket file that is there already.
   *
   * - `"reclaim"` removes it if it is dead: nobody holds its lock, and it refuses twice, 100 ms apart.
   * - `"fail"` rejects with `SocketInUse`.
   * - `"replace"` takes the path over from a server that listens there, if that is one of this package
   *   and of the same user, and has `publish: "rename"` as well; else it is as `"reclaim"`. No client is
   *   ever refused. The old server notices within a quarter of a second, serves those who had reached it,
   *   and ends: see `onReplaced`. If the new server fails before it listens, the old one goes on.
   *
   * A file that is not a socket, and a socket that answers and whose owner does not use the lock, is left
   * alone in any case.
   *
   * @default {"reclaim"}
   */
  existing?: "reclaim" | "fail" | "replace";
  /**
   * Whether to bind the path again when somebody has removed the socket file, without dropping a
   * connection. Only with `publish: "rename"`; it never displaces another file. If a successor is killed
   * while it takes the path over, the path is taken back in any case.
   *
   * @default {false}
   */
  selfHeal?: boolean;
  /**
   * Is called once, when a successor with `existing: "replace"` has taken the path over. Nothing needs to
   * be done: a server then shuts itself down; a listener gives out the connections that had reached it,
   * and ends.
   *
   * - To be sure that nobody is left in its backlog takes some seconds, longer if the process is busy.
   *   Then `draining` aborts, and handlers have 5 seconds to finish. To give them another time, call
   *   `shutdown({ timeout })` here.
   */
  onReplaced?: () => void;
  /**
   * Is called within a second, once each time, when the path no longer leads to this server: somebody
   * removed or replaced the socket file. Open connections go on.
   *
   * @default {standard error: a line}
   */
  onPathLost?: (loss: PathLoss) => void;
  /** Closes the listener, or shuts the server down; before it listens, the promise rejects. */
  signal?: AbortSignal;
}

/** A listener on a path of its own; `for await` over it ends when it is closed. */
export interface UnixListener extends AsyncIterable<Connection>, AsyncDisposable {
  /** The address that clients connect to. */
  readonly addr: UnixAddr;
  /**
   * Waits for a connection. Several calls may wait: first come, first served.
   *
   * - Where the process or the system runs out of descriptors it waits until there are some.
   *
   * @returns The connection, which is the caller's to close.
   * @throws {Deno.errors.BadResource} when the listener is closed before or meanwhile.
   * @throws {SocketError} when accepting fails for good.
   */
  accept(): Promise<Connection>;
  /**
   * Stops listening: removes the socket file, if it is still the one that was bound, and then the
   * lock. Connections that were accepted go on; those that still wait in the backlog are reset (the
   * `shutdown()` of `serve()` serves them first). Idempotent; disposal does the same.
   *
   * @throws {SocketError} when a file cannot be removed; the listener is closed all the same.
   */
  close(): Promise<void>;
  /** Makes a pending `accept` keep the process alive, as it does from the beginning. */
  ref(): void;
  /** Lets the process end although an `accept` is pending. */
  unref(): void;
}

/**
 * Listens on a path that is this process's alone.
 *
 * - When it resolves, the socket is ready and has its mode and its owner: by default the owner alone
 *   may connect, at no instant anyone else. Where the file had to be created wider than that (see
 *   `permissions()` on the umask), whoever connected meanwhile is dropped unserved.
 * - A dead socket file is replaced. A live server is not, whatever program it is (see `claim()`), unless
 *   both sides agreed to that: see `existing`.
 * - The path is watched: see `onPathLost`, `selfHeal` and `onReplaced`. That keeps no process alive.
 * - The backlog is Deno's: 1,024 connections. Clients beyond that are refused with `EAGAIN`, which
 *   `connect()` tries again.
 *
 * **Permissions**: what `permissions("serve", path, options)` says: read and write for the path and
 * for `<path>.lock`, and `--allow-net=unix:<path>`; with `publish: "rename"` also read and write for
 * `<path>.new` and `<path>.lock.new`, and `--allow-net=unix:<path>.new`; for an abstract name
 * `--allow-net`. On Windows it rejects with `NotSupported`.
 *
 * @param options The path, or the path with options.
 * @returns The listener.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when somebody alive has the path.
 * @throws {NotASocket} when something that is not a socket is there.
 * @throws {ConnectDenied} when a socket is there that this process may not connect to.
 * @throws {InsecurePath} when the lock file is another program's, or the directory is not safe to use.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.PermissionDenied} when the directory does not let this process make a file, or the
 * file cannot be given to the user or the group.
 * @throws {Deno.errors.NotSupported} on Windows, and before Deno 2.9.5.
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
export async function listen(options: SocketPath | ListenOptions): Promise<UnixListener> {
  try {
    checkArguments("listen", arguments, 1, "listen({ path, mode })");
    return await openListener(options);
  } catch (error) {
    throw seenFrom(listen, error);
  }
}

const LISTEN_CHECKS: Checks<ListenOptions> = {
  path: unchecked,
  ...CLAIM_CHECKS,
  existing: oneOf("reclaim", "fail", "replace"),
  publish: oneOf("direct", "rename"),
  selfHeal: checkBoolean,
  onReplaced: checkFunction,
  onPathLost: checkFunction,
  signal: checkSignal,
};

async function openListener(options: SocketPath | ListenOptions): Promise<UnixListener> {
  const given = withPath(options);
  checkOptions("listen", given, LISTEN_CHECKS);
  return new Listener(await openSocket("listen", given), given);
}

/** What a handler is told by its server; the same object at every call. */
export interface ServeHandlerInfo {
  /** Aborts when the server shuts down: finish what was begun, and begin nothing new. */
  readonly draining: AbortSignal;
  /** Aborts at the deadline of the shutdown: the connections that are left are closed next. */
  readonly signal: AbortSignal;
}

/**
 * Serves one connection. When its promise settles, what was written is flushed and the connection is
 * closed.
 */
export type ServeHandler = (conn: Connection, info: ServeHandlerInfo) => Promise<unknown>;

/** Options of {@linkcode serve}. */
export interface ServeOptions extends ListenOptions {
  /**
   * How many connections are served at the same time. The others wait in the backlog.
   *
   * @default {Infinity}
   */
  maxConnections?: number;
  /**
   * Milliseconds that the handler may wait for a read: after that the read rejects with
   * `Deno.errors.TimedOut`, and the connection is closed. Time that the handler needs itself is not counted.
   *
   * @default {Infinity}
   */
  idleTimeout?: number;
  /**
   * The same, instead of `idleTimeout`, until the first byte of a connection has come. A client that has
   * said nothing yet may never do so, and takes up one of `maxConnections`: it can be given less time than
   * one that rests between two requests.
   *
   * @default {idleTimeout}
   */
  firstByteTimeout?: number;
  /**
   * How long, in milliseconds, a write may wait for the client to read anything. After that the write
   * rejects with `Deno.errors.TimedOut`, with the rest as `unsent`, and the connection is closed. A client
   * that reads slowly is not closed. There is no default: a client may have a reason to pause.
   *
   * @default {Infinity}
   */
  writeTimeout?: number;
  /** Is called once, with the address, when the server listens. */
  onListen?: (addr: UnixAddr) => void;
  /**
   * Is called with what went wrong: the rejection of a handler, with its `info`; or, without, a failure to
   * accept, once until accepting works again, to bind a lost path again, or to end when the server ends
   * by itself. Whatever it does, even if it throws, the server goes on.
   *
   * @default {standard error: a line for a failure of the system, else the error with its stack. Of errors of one kind, at most one a second; the others are counted}
   */
  onError?: (error: unknown, info?: ServeHandlerInfo) => void;
}

/** Options of {@linkcode UnixServer.shutdown}. */
export interface ShutdownOptions {
  /**
   * Milliseconds until what is left is cut off; `Infinity` waits for every handler. With 0 nobody is
   * waited for, not even those in the backlog.
   *
   * @default {5000}
   */
  timeout?: number;
}

/** How a shutdown ended. */
export interface ShutdownResult {
  /** Connections whose handler finished during the shutdown. */
  completed: number;
  /** Connections that were cut off at the deadline. */
  aborted: number;
}

/** A running server. Disposing of it shuts it down. */
export interface UnixServer extends AsyncDisposable {
  /** The address that clients connect to. */
  readonly addr: UnixAddr;
  /** How many connections are open now; while it shuts down, also those that wait for a handler. */
  readonly connections: number;
  /** Resolves when the server has ended; rejects where accepting ended by itself or ending failed. */
  readonly finished: Promise<void>;
  /**
   * Ends the server without losing anyone who had reached it.
   *
   * 1. The name is given up: the socket file is removed. (An abstract name lasts until the listener is
   *    closed: who connects in between may be reset.)
   * 2. Those who wait in the backlog are accepted and served, if need be when others have finished.
   * 3. The listener is closed and the lock released: a successor may start.
   * 4. `draining` aborts; the handlers have until the deadline to finish.
   * 5. `signal` aborts, and the connections that are left are closed.
   *
   * A second call returns the promise of the first one, whatever its options.
   *
   * @param options How long the handlers have.
   * @returns How many finished, and how many were cut off.
   * @throws {SocketError} when a file cannot be removed; everything else is done all the same.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownResult>;
  /** Makes the server keep the process alive, as it does from the beginning. */
  ref(): void;
  /** Lets the process end although the server waits for connections. */
  unref(): void;
}

/**
 * Serves every connection to a path with a handler.
 *
 * - The path is owned as by {@linkcode listen}; when the promise resolves, the server is ready.
 * - **A failure stays with its connection**: if a handler rejects or throws, `onError` is called, the
 *   connection is closed, and the server goes on. It also goes on when descriptors run out.
 * - **Limits**: `maxConnections`, `idleTimeout`, `firstByteTimeout`, `writeTimeout`; those on messages are
 *   in `messages()` and its codecs. Bytes need none: the kernel holds a fast client back until the handler
 *   reads.
 * - **Timeouts** count silence that was observed. If this process stood still, what came meanwhile is read
 *   before a connection is closed.
 * - **The end** is {@linkcode UnixServer.shutdown}. A process that just exits leaves its files behind, and
 *   the next start removes them. No signal handlers are installed.
 *
 * **Permissions**: those of {@linkcode listen}. On Windows it rejects with `NotSupported`.
 *
 * @param options The path, or the path with options.
 * @param handler Serves one connection.
 * @returns The server.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when somebody alive has the path.
 * @throws {NotASocket} when something that is not a socket is there.
 * @throws {ConnectDenied} when a socket is there that this process may not connect to.
 * @throws {InsecurePath} when the lock file is another program's, or the directory is not safe to use.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.NotADirectory} when the path leads through a file.
 * @throws {Deno.errors.PermissionDenied} when the directory does not let this process make a file, or the
 * file cannot be given to the user or the group.
 * @throws {Deno.errors.NotSupported} on Windows, and before Deno 2.9.5.
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
  options: SocketPath | ServeOptions,
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
  idleTimeout: duration(1),
  firstByteTimeout: duration(1),
  writeTimeout: duration(1),
  onListen: checkFunction,
  onError: checkFunction,
};

async function openServer(
  options: SocketPath | ServeOptions,
  handler: ServeHandler,
): Promise<UnixServer> {
  const given: ServeOptions = withPath(options);
  checkOptions("serve", given, SERVE_CHECKS);
  checkFunction("handler", handler);
  return new ConnectionServer(await openSocket("serve", given), handler, given);
}

/** Returns the options, also for a path alone. */
function withPath<T extends ListenOptions>(options: SocketPath | T): T | ListenOptions {
  return typeof options === "string" || options instanceof URL ? { path: options } : options;
}

/** Does what both calls share: checks the rest, requires the permissions, and listens. */
async function openSocket(
  operation: "listen" | "serve",
  options: ListenOptions,
): Promise<ListeningSocket> {
  const { signal } = options;
  if (options.onReplaced !== undefined && options.publish !== "rename") {
    throw new TypeError('Invalid onReplaced: it needs publish: "rename"');
  }
  const owned = claimDefaults(options);
  const context = new ErrorContext(operation, resolveSocketPath(options.path));
  const isAbstract = context.path.startsWith("\0");
  // An abstract name has no file, so an option that needs one refuses it.
  const needsFile = Object.keys(LISTEN_CHECKS).some((name) =>
    name !== "path" && name !== "signal" && options[name as keyof ListenOptions] !== undefined
  );
  if (!isAbstract || needsFile) {
    requireClaimable(operation, context.path, options);
  } else {
    requireRuntime();
    context.require({ net: true });
  }
  signal?.throwIfAborted();
  return isAbstract
    ? ListeningSocket.openAbstract(context)
    : await ListeningSocket.open(context, owned, signal);
}
