/** A server of `serve()` as its user sees it: the handler, the shutdown, and the server itself. */

import type { UnixAddr } from "../../address.ts";
import type { Connection } from "../../connection.ts";

/**
 * The state of the server, for its handlers. Every call gets the same object.
 *
 * @category Servers
 */
export interface ServeHandlerInfo {
  /** Aborts when the server shuts down: finish what you have begun, and begin nothing new. */
  readonly draining: AbortSignal;
  /** Aborts at the deadline of the shutdown, before the remaining connections close. */
  readonly signal: AbortSignal;
}

/**
 * Serves one connection. When its promise settles, pending writes are flushed and the connection
 * closes.
 *
 * @category Servers
 */
export type ServeHandler = (conn: Connection, info: ServeHandlerInfo) => Promise<unknown>;

/**
 * Options of {@linkcode UnixServer.shutdown}.
 *
 * @category Servers
 */
export interface ShutdownOptions {
  /**
   * How long, in milliseconds, to wait before closing the remaining connections. With 0, all close
   * at once, queued ones included. With `Infinity`, every handler may finish.
   *
   * @default {5000}
   */
  timeout?: number | undefined;
}

/**
 * The result of a shutdown.
 *
 * @category Servers
 */
export interface ShutdownResult {
  /** How many handlers finished during the shutdown. */
  completed: number;
  /** How many connections were closed at the deadline. */
  aborted: number;
}

/**
 * A running server. Disposing of it shuts it down.
 *
 * @category Servers
 */
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
