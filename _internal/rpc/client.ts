/**
 * Calls to a server that may go away and come back.
 *
 * ```text
 * idle ──► connecting ──► connected ──► idle     the connection has ended, or the server drains
 *   └──────────┴──────────────┴───────► closed   close()
 * ```
 */

import {
  CallInterrupted,
  ConnectDenied,
  ConnectionClosed,
  ConnectTimeout,
  isSocketError,
  RpcError,
} from "../../errors.ts";
import { seen } from "../base/caller_stack.ts";
import { checkBoolean, checkOptions, type Checks, checkSignal, duration } from "../base/check.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { delay, onAbort } from "../base/event_loop.ts";
import { GrowingPauses } from "../base/growing_pauses.ts";
import { limitWait } from "../base/silence.ts";
import type { CallOptions } from "./calls.ts";
import { RPC_CODES } from "./codes.ts";
import { checkCall, type Peer } from "./peer.ts";

/**
 * Options of {@linkcode RpcClient.call}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode CallOptions.signal | signal}: Cancels the call: its promise rejects with the
 *   signal's reason.
 *
 * @category Calls
 */
export interface ClientCallOptions extends CallOptions {
  /**
   * How long, in milliseconds, the call may take: to wait for a connection, and for the answer.
   *
   * @default {that of the client}
   */
  timeout?: number | undefined;
  /**
   * Whether the server may run the method twice. If the connection ends before the answer, the call
   * is then sent again on the next one, until it is answered.
   *
   * @default {whether `idempotent` of the client has the method}
   */
  idempotent?: boolean | undefined;
}

/** What a client needs of the peer at the end of a connection. */
type ConnectedPeer =
  & Pick<Peer, "call" | "notify" | "takesCalls" | "closed" | "close">
  & AsyncDisposable;

/** What a client needs: its options, and a way to connect. */
export interface ReconnectingOptions {
  readonly context: ErrorContext;
  /** Connects. Tries again for `timeout` milliseconds while the server is not there. */
  readonly open: (timeout: number, signal: AbortSignal) => Promise<ConnectedPeer>;
  readonly onConnect: ((peer: ConnectedPeer) => unknown) | undefined;
  readonly idempotent: ReadonlySet<string>;
  readonly connectTimeout: number;
  readonly timeout: number;
  readonly maxCalls: number;
}

/** A connection. */
interface Link {
  readonly peer: ConnectedPeer;
  /** The calls that wait for their answer. */
  calls: number;
  /** Whether a call was answered. */
  isProven: boolean;
}

/** A call that waits for a connection. */
type Waiter = PromiseWithResolvers<Link>;

/** The pauses before the next connection, if no call was answered on the last one. */
const FIRST_PAUSE_MS = 2;
const LAST_PAUSE_MS = 1000;
/**
 * How long the rounds of connecting take. After the first one the refusal is known. After the
 * second one a denial is final: a server that is starting sets the mode of its file sooner.
 */
const ROUNDS_MS = [1, 250];
const LAST_ROUND_MS = 5000;

const CALL_CHECKS: Checks<ClientCallOptions> = {
  signal: checkSignal,
  timeout: duration(1),
  idempotent: checkBoolean,
};

/** The implementation of `RpcClient`. */
export class ReconnectingClient {
  readonly #options: ReconnectingOptions;
  readonly #waiting = new Set<Waiter>();
  readonly #pauses = new GrowingPauses(FIRST_PAUSE_MS, LAST_PAUSE_MS);
  /** The current connection, and those to servers that drain. */
  readonly #links = new Set<Link>();
  #current: Link | undefined;
  #connecting: AbortController | undefined;
  /** Whether a call was answered on the last connection. */
  #wasProven = true;
  /** Why the last try to connect failed. */
  #refusal: Error | undefined;
  #isClosed = false;

  constructor(options: ReconnectingOptions) {
    this.#options = options;
  }

  call(method: string, params?: object, options?: ClientCallOptions): Promise<unknown> {
    return seen(this.#call(method, params, options), true);
  }

  notify(method: string, params?: object): Promise<void> {
    return seen(this.#notify(method, params), true);
  }

  async #call(
    method: string,
    params: object | undefined,
    options: ClientCallOptions = {},
  ): Promise<unknown> {
    checkCall(method, params);
    checkOptions("call", options, CALL_CHECKS);
    options.signal?.throwIfAborted();
    const { idempotent, connectTimeout } = this.#options;
    const { signal, timeout = this.#options.timeout } = options;
    const mayRepeat = options.idempotent ?? idempotent.has(method);
    const start = performance.now();
    let waited = 0;
    for (;;) {
      const since = performance.now();
      const left = timeout - (since - start);
      let link = this.#current;
      if (link === undefined) {
        const wait = connectTimeout - waited;
        link = await (left < wait
          ? this.#connected(left, timeout, signal)
          : this.#connected(wait, connectTimeout, signal));
        waited += performance.now() - since;
      }
      link.calls++;
      try {
        const answer = await link.peer.call(method, params, limits(left, signal));
        link.isProven = true;
        return answer;
      } catch (error) {
        const isRefused = isDraining(error);
        const isLost = error instanceof CallInterrupted;
        if (isRefused || isLost) this.#retire(link);
        else link.isProven = true;
        const mayRetry = isRefused || isLost && (!error.sent || mayRepeat);
        if (!mayRetry || this.#isClosed) throw error;
        // A server that answers others was there: the wait for the next one begins.
        if (link.isProven) waited = 0;
      } finally {
        link.calls--;
        if (link !== this.#current && link.calls === 0) link.peer.close();
      }
    }
  }

  async #notify(method: string, params: object | undefined): Promise<void> {
    checkCall(method, params);
    const { connectTimeout } = this.#options;
    // On a connection that ends, a call is refused, and goes to the next one. This would be lost.
    if (this.#current?.peer.takesCalls === false) this.#retire(this.#current);
    const link = this.#current ?? await this.#connected(connectTimeout, connectTimeout);
    try {
      await link.peer.notify(method, params);
    } catch (error) {
      if (isNotSent(error)) this.#retire(link);
      throw error;
    }
  }

  close(): void {
    this.#shut();
    for (const { peer } of this.#links) peer.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shut();
    await Promise.all([...this.#links].map(({ peer }) => peer[Symbol.asyncDispose]()));
  }

  /** Refuses the calls that wait for a connection, and all further ones. */
  #shut(): void {
    this.#isClosed = true;
    this.#current = undefined;
    this.#stopConnecting();
    for (const { reject } of this.#waiting) reject(this.#closedError());
  }

  /**
   * Waits for a connection.
   *
   * @param ms What is left of the limit.
   * @param limit The whole limit, for the error.
   */
  async #connected(ms: number, limit: number, signal?: AbortSignal): Promise<Link> {
    const { context, maxCalls } = this.#options;
    if (this.#isClosed) throw this.#closedError();
    if (this.#waiting.size >= maxCalls) {
      throw context.error(Deno.errors.Busy, `${maxCalls} calls wait for it already`);
    }
    const waiter: Waiter = Promise.withResolvers();
    this.#waiting.add(waiter);
    const stop = limitWait(
      Math.max(0, ms),
      signal,
      () => waiter.reject(this.#lateError(limit)),
      () => waiter.reject(signal?.reason),
    );
    if (this.#connecting === undefined) this.#connect();
    try {
      return await waiter.promise;
    } finally {
      stop();
      this.#waiting.delete(waiter);
      if (this.#waiting.size === 0) this.#stopConnecting();
    }
  }

  #stopConnecting(): void {
    this.#connecting?.abort();
    this.#connecting = undefined;
  }

  /** Connects for all calls that wait. Never rejects. */
  async #connect(): Promise<void> {
    const { signal } = this.#connecting = new AbortController();
    let settle: (waiter: Waiter) => void;
    try {
      const link = await this.#open(signal);
      if (signal.aborted) return link.peer.close();
      this.#current = link;
      settle = ({ resolve }) => resolve(link);
    } catch (error) {
      if (signal.aborted) return;
      settle = ({ reject }) => reject(error);
    }
    this.#connecting = undefined;
    this.#waiting.forEach(settle);
  }

  async #open(signal: AbortSignal): Promise<Link> {
    const { onConnect } = this.#options;
    for (;;) {
      if (!this.#wasProven) await delay(this.#pauses.next(), signal);
      const link: Link = { peer: await this.#reach(signal), calls: 0, isProven: false };
      this.#links.add(link);
      link.peer.closed.then(() => {
        this.#links.delete(link);
        this.#retire(link);
      });
      const stop = onAbort(signal, () => link.peer.close());
      try {
        await onConnect?.(link.peer);
        if (link.peer.takesCalls) return link;
        link.peer.close();
      } catch (error) {
        link.peer.close();
        const isLost = error instanceof CallInterrupted || isNotSent(error);
        if (!isLost && !isDraining(error)) throw error;
      } finally {
        stop();
      }
      this.#wasProven = false;
    }
  }

  /** Connects as soon as the server is there. */
  async #reach(signal: AbortSignal): Promise<ConnectedPeer> {
    for (let round = 0;; round++) {
      try {
        return await this.#options.open(ROUNDS_MS[round] ?? LAST_ROUND_MS, signal);
      } catch (error) {
        if (!(error instanceof ConnectTimeout)) throw error;
        if (error.cause instanceof ConnectDenied && round > 0) throw error.cause;
        this.#refusal = error.cause as Error;
      }
    }
  }

  /** The connection takes no more calls. */
  #retire(link: Link): void {
    if (link !== this.#current) return;
    this.#current = undefined;
    this.#wasProven = link.isProven;
    if (link.isProven) this.#pauses.reset();
    if (link.calls === 0) link.peer.close();
  }

  #lateError(limit: number): Error {
    const last = this.#refusal && `. The last attempt: ${this.#refusal.message}`;
    const state = `no connection within ${limit} ms${last ?? ""}`;
    return this.#options.context.error(ConnectTimeout, state, { cause: this.#refusal });
  }

  #closedError(): Error {
    return this.#options.context.error(ConnectionClosed, "close() was called");
  }
}

/** Reports whether a server has refused a call because it shuts down. */
function isDraining(error: unknown): boolean {
  return error instanceof RpcError && error.code === RPC_CODES.DRAINING;
}

/** Reports whether a connection does not take a notification. Its parameters are not the reason. */
function isNotSent(error: unknown): boolean {
  return isSocketError(error) && error.operation === "notify";
}

/** Returns the options of one try. Most calls have none. */
function limits(left: number, signal: AbortSignal | undefined): CallOptions | undefined {
  if (left === Infinity && signal === undefined) return undefined;
  return { timeout: left === Infinity ? left : Math.max(1, Math.ceil(left)), signal };
}
