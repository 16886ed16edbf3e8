/**
 * The server behind `serve()`. It runs a handler for each connection, limits their number, and
 * shuts down without losing a client.
 *
 * ```text
 * running ──shutdown()──▶ draining ──backlog empty──▶ finishing ──no connection──▶ finished
 *    │                        or no marker                ▲  └──── deadline ────────▲
 *    └──accepting ended──▶ failed ──────shutdown()────────┘
 * ```
 *
 * - running: accepts while there is room, and starts a handler for each connection.
 * - draining: accepts the whole backlog, and starts no handler, because one connection is the
 *   marker. Handlers do start if descriptors run out: the rest of the backlog waits for them.
 * - finishing: starts handlers for the connections that wait, never more at once than the limit.
 */

import type { UnixAddr } from "../../address.ts";
import { seenFrom } from "../base/caller_stack.ts";
import {
  checkArguments,
  checkOptions,
  type Checks,
  duration,
  isGenerator,
  show,
} from "../base/check.ts";
import { onAbort, turn } from "../base/event_loop.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { SilenceTimer } from "../base/silence.ts";
import {
  endHandled,
  type SocketConnection,
  type Timeouts,
} from "../connection/socket_connection.ts";
import { Admission, type AdmissionOptions, MOST_REFUSALS } from "./admission.ts";
import type { ListeningSocket } from "./listening_socket.ts";
import type { Reporter } from "./reporter.ts";
import type {
  ServeHandler,
  ServeHandlerInfo,
  ShutdownOptions,
  ShutdownResult,
  UnixServer,
} from "./serving.ts";

/** The options that decide how connections are served. */
interface ServingOptions extends AdmissionOptions {
  maxConnections?: number | undefined;
  overflow?: "wait" | "refuse" | undefined;
  idleTimeout?: number | undefined;
  firstByteTimeout?: number | undefined;
  writeTimeout?: number | undefined;
}

const SHUTDOWN_CHECKS: Checks<ShutdownOptions> = { timeout: duration() };

const DEFAULT_TIMEOUT_MS = 5000;

/** A running server. */
export class ConnectionServer implements UnixServer {
  readonly finished: Promise<void>;
  readonly #socket: ListeningSocket;
  readonly #handler: ServeHandler;
  readonly #admission: Admission;
  readonly #authorizes: boolean;
  readonly #refuses: boolean;
  readonly #reporter: Reporter;
  readonly #maxConnections: number;
  readonly #timeouts: Timeouts;
  readonly #draining = new AbortController();
  readonly #cut = new AbortController();
  readonly #info: ServeHandlerInfo = { draining: this.#draining.signal, signal: this.#cut.signal };
  /** The open connections, those without a handler included. */
  readonly #open = new Set<SocketConnection>();
  /** Those without a handler. */
  readonly #waiting: SocketConnection[] = [];
  #state: "running" | "failed" | "draining" | "finishing" | "finished" = "running";
  #handlers = 0;
  /** Whether a handler that is not async was reported. */
  #isAsyncChecked = false;
  /** Whether work after the return of its handler was reported. */
  #isLateReported = false;
  /** How many connections are being refused. */
  #refusals = 0;
  #completed = 0;
  #shutdown: Promise<ShutdownResult> | undefined;
  /** Wakes the accept loop, because there is room for one more connection. */
  #onRoom: () => void = () => {};
  /** Wakes the shutdown, because no connection is left. */
  #onEmpty: () => void = () => {};

  /**
   * @param socket The socket, which is closed with this.
   * @param handler Serves one connection.
   * @param options Checked options.
   */
  constructor(socket: ListeningSocket, handler: ServeHandler, options: ServingOptions) {
    this.#socket = socket;
    this.#handler = handler;
    const { idleTimeout = Infinity, firstByteTimeout = idleTimeout, writeTimeout = Infinity } =
      options;
    this.#timeouts = { idleTimeout, firstByteTimeout, writeTimeout };
    this.#maxConnections = options.maxConnections ?? Infinity;
    this.#reporter = socket.reporter;
    this.#admission = new Admission(options, socket.contextOf, this.#info, this.#reporter);
    this.#authorizes = options.authorize !== undefined;
    this.#refuses = options.overflow === "refuse";
    socket.start({
      end: () => this.shutdown(),
      // The same shutdown, if `onReplaced` has begun one.
      leave: () => this.shutdown(),
      onAcceptFailure: () => this.#startHandlers(),
    });
    this.finished = this.#run();
    // It need not be awaited: an unhandled rejection would end the process.
    this.finished.catch(() => {});
    this.#reporter.reportListening(socket.addr);
  }

  get addr(): UnixAddr {
    return this.#socket.addr;
  }

  get connections(): number {
    return this.#open.size;
  }

  shutdown(options: ShutdownOptions = {}): Promise<ShutdownResult> {
    try {
      checkArguments("shutdown", arguments, 1, "shutdown({ timeout })");
      checkOptions("shutdown", options, SHUTDOWN_CHECKS);
    } catch (error) {
      return Promise.reject(seenFrom(this.shutdown, error));
    }
    return this.#shutdown ??= this.#end(options.timeout ?? DEFAULT_TIMEOUT_MS);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.shutdown().then(() => {});
  }

  ref(): void {
    this.#socket.queue.ref();
  }

  unref(): void {
    this.#socket.queue.unref();
  }

  /** Accepts until the listener closes. */
  async #run(): Promise<void> {
    try {
      for (;;) {
        if (this.#isFull && (!this.#refuses || this.#refusals === MOST_REFUSALS)) {
          await new Promise<void>((resolve) => this.#onRoom = resolve);
          continue;
        }
        const conn = await this.#socket.accept(this.#timeouts);
        if (this.#isFull && this.#refuses) {
          this.#refuse(conn);
          continue;
        }
        this.#open.add(conn);
        this.#waiting.push(conn);
        this.#startHandlers();
      }
    } catch (error) {
      if (this.#state === "running") {
        this.#state = "failed";
        await this.shutdown();
        throw error;
      }
    }
    await this.#shutdown;
  }

  /** Whether further clients wait or are refused. While it drains, it accepts all of them. */
  get #isFull(): boolean {
    return this.#handlers >= this.#maxConnections && this.#state === "running";
  }

  async #refuse(conn: SocketConnection): Promise<void> {
    this.#refusals++;
    await this.#admission.refuse(conn);
    this.#refusals--;
    this.#onRoom();
  }

  /** Starts the handlers that there is room for. */
  #startHandlers(): void {
    if (this.#state === "draining" && !this.#socket.queue.current.backingOff) return;
    while (this.#handlers < this.#maxConnections && this.#state !== "finished") {
      const conn = this.#waiting.shift();
      if (conn === undefined) return;
      this.#handlers++;
      this.#serve(conn);
    }
  }

  /** Serves a connection. It is one function because each frame that waits takes memory. */
  async #serve(conn: SocketConnection): Promise<void> {
    if (!this.#authorizes || await this.#admission.authorize(conn)) {
      let onLate = this.#reportLate;
      try {
        const working: unknown = this.#handler(conn, this.#info);
        if (typeof (working as PromiseLike<unknown> | undefined)?.then !== "function") {
          this.#reportNotAsync(working);
        }
        await working;
      } catch (error) {
        // Connections that were cut off are counted, not reported.
        if (this.#state !== "finished") this.#reporter.report(error, this.#info, "handler");
        // Work that it has left is a consequence.
        onLate = ignore;
      }
      const flushing = endHandled(conn, onLate);
      if (flushing !== undefined) await flushing;
      if (this.#open.has(conn)) this.#completed++;
    } else conn.close();
    this.#open.delete(conn);
    this.#handlers--;
    this.#socket.queue.wake();
    this.#onRoom();
    this.#startHandlers();
    if (this.#open.size === 0) this.#onEmpty();
  }

  /** Reports, once, a handler that does not say when it has finished. */
  #reportNotAsync(returned: unknown): void {
    if (this.#isAsyncChecked) return;
    this.#isAsyncChecked = true;
    const remedy = isGenerator(returned)
      ? "Its body never runs. Use async function, without *"
      : "Make it async and await all of its work: its connection closes when it returns";
    const state = `expected a promise from it, got ${show(returned)}. ${remedy}`;
    const { path } = this.addr;
    const of = path === null ? "" : ` of ${quoteAddress(path)}`;
    this.#reporter.report(new TypeError(`Invalid handler${of}: ${state}`), this.#info);
  }

  /** Reports, once, what a handler has lost by returning before its work was done. */
  readonly #reportLate = (error: Error): void => {
    // Connections that were cut off are counted, not reported.
    if (this.#isLateReported || this.#state === "finished") return;
    this.#isLateReported = true;
    this.#reporter.report(error, this.#info);
  };

  async #end(timeout: number): Promise<ShutdownResult> {
    const late = new AbortController();
    const limit = new SilenceTimer(() => late.abort());
    // No client waits for the end of a backlog without a name, so the time for draining it does not
    // count.
    const startsLate = this.#socket.isReplaced && timeout > 0;
    // With 0 there is nothing to hear.
    if (timeout === 0) setTimeout(() => late.abort(), 0);
    else if (!startsLate) limit.start(timeout);
    this.#completed = 0;
    let aborted = 0;
    try {
      if (this.#state === "running") await this.#drain(late.signal);
      if (startsLate) limit.start(timeout);
    } finally {
      try {
        await this.#socket.close();
      } finally {
        this.#draining.abort();
        await this.#waitForHandlers(late.signal);
        limit.stop();
        aborted = this.#cutOff();
        this.#reporter.flush();
      }
    }
    return { completed: this.#completed, aborted };
  }

  /** Accepts the backlog, until the signal. */
  async #drain(late: AbortSignal): Promise<void> {
    this.#state = "draining";
    this.#onRoom();
    await this.#socket.drain(late, () => this.#open.size, (marker) => {
      if (marker !== undefined) {
        this.#open.delete(marker);
        const place = this.#waiting.indexOf(marker);
        if (place >= 0) this.#waiting.splice(place, 1);
        marker.close();
      } else if (!late.aborted) {
        // Every connection is a client, and the rest takes longer: start serving now.
        this.#finish();
      }
    });
    // After the deadline, the connections that were just accepted are cut off with the others.
    if (!late.aborted) this.#finish();
  }

  #finish(): void {
    this.#state = "finishing";
    this.#startHandlers();
  }

  /** Waits until no connection is left, or until the signal. */
  async #waitForHandlers(late: AbortSignal): Promise<void> {
    if (this.#open.size === 0) return;
    if (late.aborted) return await turn();
    await new Promise<void>((resolve) => {
      this.#onEmpty = resolve;
      onAbort(late, resolve);
    });
  }

  /** Closes the connections that are left, and returns their number. */
  #cutOff(): number {
    this.#state = "finished";
    const { size } = this.#open;
    if (size + this.#refusals > 0) this.#cut.abort();
    for (const conn of this.#open) conn.close();
    this.#open.clear();
    return size;
  }
}

function ignore(): void {}
