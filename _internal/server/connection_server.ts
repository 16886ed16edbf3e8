/**
 * The server behind `serve()`: a handler for each connection, limits, and an end that loses nobody.
 *
 * - Accepting and serving are apart: `#run` accepts while there is room, `#start` starts handlers.
 * - While it shuts down, everyone who is still in the backlog is accepted first and served then, never
 *   more at once than the limit.
 */

import type { UnixAddr } from "../../address.ts";
import { isSocketError } from "../../errors.ts";
import { andMore, CountedLines, kindOfError } from "../base/counted_lines.ts";
import { onAbort, turn } from "../base/event_loop.ts";
import type { ListeningEvents, Loss } from "./listening_options.ts";
import type { ListeningSocket } from "./listening_socket.ts";
import { checkArguments, checkOptions, type Checks, duration } from "../base/check.ts";
import { SilenceTimer } from "../base/silence.ts";
import type { SocketConnection, Timeouts } from "../connection/socket_connection.ts";

/** What a handler is told of its server. */
interface HandlerInfo {
  readonly draining: AbortSignal;
  readonly signal: AbortSignal;
}

type Handler = (conn: SocketConnection, info: HandlerInfo) => Promise<unknown>;

/** How a shutdown ended. */
interface ShutdownCounts {
  completed: number;
  aborted: number;
}

/** The options of `serve()` that are not those of the listening socket. */
interface ConnectionServerOptions extends Partial<Omit<ListeningEvents, "onError">> {
  maxConnections?: number;
  idleTimeout?: number;
  firstByteTimeout?: number;
  writeTimeout?: number;
  signal?: AbortSignal;
  onListen?: (addr: UnixAddr) => void;
  onError?: (error: unknown, info?: HandlerInfo) => void;
}

const SHUTDOWN_CHECKS: Checks<{ timeout?: number }> = { timeout: duration() };

/** A running server. */
export class ConnectionServer {
  readonly finished: Promise<void>;
  readonly #socket: ListeningSocket;
  readonly #handler: Handler;
  readonly #onError: (error: unknown, info?: HandlerInfo) => void;
  readonly #printer = new ErrorPrinter();
  readonly #maxConnections: number;
  readonly #timeouts: Timeouts = {};
  readonly #draining = new AbortController();
  readonly #cut = new AbortController();
  readonly #info: HandlerInfo;
  /** The open connections: those whose handler runs and, while draining, those who wait for one. */
  readonly #open = new Set<SocketConnection>();
  readonly #waiting: SocketConnection[] = [];
  readonly #stopListeningToSignal: () => void;
  #running = 0;
  #accepted = 0;
  #completed = 0;
  #aborted = 0;
  #accepting = true;
  #stopping = false;
  #drained = false;
  #replaced = false;
  #shutdown: Promise<ShutdownCounts> | undefined;
  /** Tells the accept loop that there is room for one more. */
  #slot: () => void = () => {};
  /** Tells the shutdown that no connection is left. */
  #empty: () => void = () => {};

  constructor(socket: ListeningSocket, handler: Handler, options: ConnectionServerOptions) {
    this.#socket = socket;
    this.#handler = handler;
    this.#onError = options.onError ?? this.#printer.print;
    this.#maxConnections = options.maxConnections ?? Infinity;
    const { idleTimeout, firstByteTimeout, writeTimeout } = options;
    if (idleTimeout !== undefined) this.#timeouts.idleTimeout = idleTimeout;
    if (firstByteTimeout !== undefined) this.#timeouts.firstByteTimeout = firstByteTimeout;
    if (writeTimeout !== undefined) this.#timeouts.writeTimeout = writeTimeout;
    this.#info = { draining: this.#draining.signal, signal: this.#cut.signal };
    this.finished = this.#run();
    // Nobody has to look at it: a rejection that is not awaited must not end the process.
    this.finished.catch(() => {});
    this.#stopListeningToSignal = onAbort(
      options.signal,
      () => void this.shutdown().catch((error) => this.#report(error)),
    );
    socket.watch({
      onReplaced: () => {
        this.#replaced = true;
        this.#guard(() => options.onReplaced?.());
        // The callback may have begun one itself: then it is the same one.
        this.shutdown().catch((error) => this.#report(error));
      },
      onPathLost: (loss) => this.#guard(() => (options.onPathLost ?? printLoss)(loss)),
      onError: (error) => this.#report(error),
    });
    this.#guard(() => options.onListen?.(socket.addr));
  }

  get addr(): UnixAddr {
    return this.#socket.addr;
  }

  get connections(): number {
    return this.#open.size;
  }

  shutdown(options: { timeout?: number } = {}): Promise<ShutdownCounts> {
    try {
      checkArguments("shutdown", arguments, 1, "shutdown({ timeout })");
      checkOptions("shutdown", options, SHUTDOWN_CHECKS);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#shutdown ??= this.#end(options.timeout ?? 5000);
    return this.#shutdown;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown().then(() => {});
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  /** Accepts until the listener is closed. */
  async #run(): Promise<void> {
    try {
      for (;;) {
        if (this.#running >= this.#maxConnections && !this.#stopping) {
          await new Promise<void>((resolve) => this.#slot = resolve);
          continue;
        }
        const conn = await this.#socket.accept(this.#failedToAccept, this.#timeouts);
        this.#accepted++;
        this.#open.add(conn);
        this.#waiting.push(conn);
        this.#start();
      }
    } catch (error) {
      this.#accepting = false;
      if (this.#shutdown === undefined) {
        // Accepting ended by itself: let those who are connected finish, and say so.
        await this.shutdown();
        throw error;
      }
    }
    await this.#shutdown;
  }

  /** Starts the handlers that there is room for. */
  #start(): void {
    // While the backlog is drained one of them is our own; only where descriptors run out can the
    // others not wait for that.
    if (this.#stopping && !this.#drained && !this.#socket.pausing) return;
    while (this.#running < this.#maxConnections && !this.#cut.signal.aborted) {
      const conn = this.#waiting.shift();
      if (conn === undefined) return;
      this.#running++;
      this.#serve(conn);
    }
  }

  async #serve(conn: SocketConnection): Promise<void> {
    try {
      await this.#handler(conn, this.#info);
    } catch (error) {
      // Those who were cut off are counted, not reported.
      if (!this.#cut.signal.aborted) this.#report(error, this.#info);
    }
    await conn[Symbol.asyncDispose]();
    if (this.#open.delete(conn)) this.#completed++;
    this.#running--;
    this.#socket.wake();
    this.#slot();
    this.#start();
    if (this.#open.size === 0) this.#empty();
  }

  async #end(timeout: number): Promise<ShutdownCounts> {
    this.#stopListeningToSignal();
    const late = new AbortController();
    const limit = new SilenceTimer(() => late.abort());
    // The path is somebody else's already: nobody waits for the end of a backlog without a name.
    const isPatient = this.#replaced && timeout > 0;
    // With 0 there is nothing to be heard.
    if (timeout === 0) setTimeout(() => late.abort(), 0);
    else if (!isPatient) limit.start(timeout);
    this.#completed = 0;
    this.#stopping = true;
    this.#slot();
    try {
      if (this.#accepting) await this.#drainBacklog(late.signal);
      if (isPatient) limit.start(timeout);
    } finally {
      try {
        await this.#socket.close();
      } finally {
        this.#draining.abort();
        await this.#waitForHandlers(late.signal);
        limit.stop();
        this.#cutOff();
        this.#printer.flush();
      }
    }
    return { completed: this.#completed, aborted: this.#aborted };
  }

  /** Accepts everyone who is still in the backlog, until the signal. */
  async #drainBacklog(late: AbortSignal): Promise<void> {
    const own = await this.#socket.drain(late);
    if (own !== undefined) {
      this.#open.delete(own);
      const place = this.#waiting.indexOf(own);
      if (place >= 0) this.#waiting.splice(place, 1);
      own.close();
    } else if (!late.aborted) {
      // None of them is our own, and it will take a while.
      this.#handOut();
    }
    await this.#socket.quiet(() => this.#open.size, late);
    // When the time is over, who has just been accepted is cut off with the others.
    if (!late.aborted) this.#handOut();
  }

  /** Lets those be served who were accepted while the backlog is drained. */
  #handOut(): void {
    this.#drained = true;
    this.#start();
  }

  /** Waits until no connection is left, or until the signal. */
  async #waitForHandlers(late: AbortSignal): Promise<void> {
    if (this.#open.size === 0) return;
    if (late.aborted) return await turn();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#empty = resolve;
    const stop = onAbort(late, resolve);
    await promise;
    stop();
  }

  /** Closes what is left, and counts it. */
  #cutOff(): void {
    this.#aborted = this.#open.size;
    if (this.#aborted > 0) this.#cut.abort();
    for (const conn of this.#open) conn.close();
    this.#open.clear();
  }

  /** An attempt to accept has failed: no descriptor is left, say. */
  readonly #failedToAccept = (error: Error, isFirst: boolean): void => {
    if (isFirst) this.#report(error);
    if (this.#stopping) this.#start();
  };

  #report(error: unknown, info?: HandlerInfo): void {
    this.#guard(() => this.#onError(error, info));
  }

  #guard(callback: () => void): void {
    guard(callback, this.#printer.print);
  }
}

/** Runs a callback of the user's, which must not end the server. */
export function guard(callback: () => void, onFailure: (error: unknown) => void): void {
  try {
    const result: unknown = callback();
    if (result instanceof Promise) result.catch(onFailure);
  } catch (error) {
    onFailure(error);
  }
}

/** A path that was lost, in a line. */
export function printLoss({ path, found, heals }: Loss): void {
  const how = found === "nothing" ? "was removed" : "was replaced";
  const then = heals ? "It is bound again" : "New clients do not reach this server any more";
  console.error(`uds: The socket ${JSON.stringify(path)} ${how}. ${then}`);
}

/** Prints the errors of one server on standard error, at most one a second of each kind. */
export class ErrorPrinter {
  readonly #lines = new CountedLines();

  /** Prints an error, or counts it. */
  readonly print = (error: unknown): void => {
    this.#lines.add(kindOfError(error), (more) => printError(error, more));
  };

  /** Prints what was counted. Call this when the server ends. */
  flush(): void {
    this.#lines.flush();
  }
}

/** Prints a failure of the system as a line, and any other error with its stack. */
function printError(error: unknown, more: number): void {
  try {
    if (isSocketError(error)) console.error(`uds: ${error.message}${andMore(more)}`);
    else if (more === 0) console.error(error);
    else console.error(error, andMore(more).trim());
  } catch {
    // Not even standard error is left; the server still is.
  }
}
