/** Our own calls that wait for an answer. */

import { CallInterrupted, ConnectionClosed, RpcError } from "../../errors.ts";
import { rejectSeen } from "../base/caller_stack.ts";
import { ErrorContext } from "../base/error_context.ts";
import { timedOut } from "../base/failure.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { limitWait } from "../base/silence.ts";
import type { WireError } from "./wire.ts";

/**
 * Options of {@linkcode RpcPeer.call}.
 *
 * @category Calls
 */
export interface CallOptions {
  /**
   * Cancels the call: its promise rejects with the signal's reason. The peer gets the notification
   * `cancelMethod`, which aborts the signal of the method.
   */
  signal?: AbortSignal | undefined;
  /**
   * How long, in milliseconds, to wait for the answer. After that the call rejects with
   * `Deno.errors.TimedOut`, and is canceled.
   *
   * @default {`timeout` of the peer}
   */
  timeout?: number | undefined;
}

/** A call that waits for its answer. */
export interface Call {
  readonly method: string;
  readonly promise: Promise<unknown>;
  readonly resolve: (result: unknown) => void;
  /** How many bytes were encoded before it. */
  readonly start: number;
  /** Leaves no timer and no listener behind. */
  stop: (() => void) | undefined;
}

/**
 * How many of the latest answered calls are remembered: a second answer to one of them is reported.
 * Any other answer to a call that was made counts as late, and is dropped. Remembering every call
 * that was given up would take memory without a limit.
 */
const MAX_ANSWERED = 100;

/** The calls of one peer. */
export class Calls {
  readonly #path: string | null;
  readonly #most: number;
  readonly #onGiveUp: (id: number) => void;
  readonly #waiting = new Map<number, Call>();
  /** The identifiers of the latest answers, in a ring. */
  readonly #latestAnswers: unknown[] = [];
  #answers = 0;
  #lastId = 0;

  /**
   * @param most The maximum number of calls that wait.
   * @param onGiveUp Called when a call is given up before its answer comes.
   */
  constructor(path: string | null, most: number, onGiveUp: (id: number) => void) {
    this.#path = path;
    this.#most = most;
    this.#onGiveUp = onGiveUp;
  }

  /** The identifier of the latest call. */
  get lastId(): number {
    return this.#lastId;
  }

  /** The number of calls that wait. */
  get size(): number {
    return this.#waiting.size;
  }

  /** Reports whether a call with this identifier waits. */
  has(id: unknown): boolean {
    return this.#waiting.has(id as number);
  }

  /** Returns the identifier of the next call. Throws if too many wait. */
  nextId(method: string): number {
    if (this.#waiting.size >= this.#most) {
      const cause = new Deno.errors.Busy(`${this.#most} calls wait for an answer already`);
      throw this.failure(method, cause);
    }
    return ++this.#lastId;
  }

  /** Waits for the answer to a call that was encoded. */
  wait(id: number, method: string, start: number, options: CallOptions): Promise<unknown> {
    const { promise, resolve } = Promise.withResolvers<unknown>();
    const call: Call = { method, promise, resolve, start, stop: undefined };
    this.#waiting.set(id, call);
    const { timeout = Infinity, signal } = options;
    if (timeout !== Infinity || signal !== undefined) this.#limit(id, call, timeout, signal);
    return promise;
  }

  #limit(id: number, call: Call, timeout: number, signal: AbortSignal | undefined): void {
    const giveUp = (error: unknown) => {
      if (!this.#waiting.has(id)) return;
      this.#waiting.delete(id);
      this.#onGiveUp(id);
      this.#reject(call, error);
    };
    call.stop = limitWait(
      timeout,
      signal,
      () => giveUp(this.failure(call.method, timedOut(`no answer came within ${timeout} ms`))),
      () => giveUp(signal?.reason),
    );
  }

  /** Settles a call with its answer. Reports whether the answer was expected. */
  settle(id: unknown, result: unknown, error: WireError | undefined): boolean {
    const call = this.#waiting.get(id as number);
    if (call === undefined && !this.#isLate(id)) return false;
    this.#latestAnswers[this.#answers++ % MAX_ANSWERED] = id;
    if (call === undefined) return true;
    this.#waiting.delete(id as number);
    if (error !== undefined) this.#reject(call, this.#answered(call.method, error));
    else {
      call.stop?.();
      call.resolve(result);
    }
    return true;
  }

  /** Reports whether a call with this identifier was given up, as far as is known. */
  #isLate(id: unknown): boolean {
    const wasMade = Number.isInteger(id) && (id as number) >= 1 && (id as number) <= this.#lastId;
    return wasMade && !this.#latestAnswers.includes(id);
  }

  /** Rejects all calls as if the peer had answered each with this error. */
  refuseAll(error: WireError): void {
    for (const id of this.#waiting.keys()) this.settle(id, undefined, error);
  }

  /** Rejects a call that could not be sent. */
  refuse(id: number, error: unknown): void {
    const call = this.#waiting.get(id);
    if (call === undefined) return;
    this.#waiting.delete(id);
    this.#reject(call, error);
  }

  /**
   * Rejects all calls, because the connection has ended.
   *
   * @param cause Why it has ended, if it is known.
   * @param written How many of the encoded bytes the kernel has taken.
   */
  end(cause: unknown, written: number): void {
    for (const call of this.#waiting.values()) {
      this.#reject(call, this.interrupted(call.method, call.start < written, cause));
    }
    this.#waiting.clear();
  }

  /** Returns the error for a call that the end of the connection has interrupted. */
  interrupted(method: string, sent: boolean, cause: unknown): CallInterrupted {
    const state = sent
      ? "the connection has ended before the answer. The method may have run"
      : "the connection has ended, and the call was not sent";
    const fields = { method, sent, ...(cause !== undefined && { cause }) };
    return this.#context(method).error(CallInterrupted, state, fields);
  }

  /** Returns an error of the cause's own class. */
  failure(method: string, cause: Error): Error {
    return Object.assign(this.#context(method).fail(cause), { method });
  }

  /** Returns the error for a notification that the connection does not take, of the same class. */
  notSent(method: string, cause: Error): Error {
    const state = cause instanceof ConnectionClosed
      ? "this side has closed the connection"
      : undefined;
    return Object.assign(this.#context(method, "notify").fail(cause, state), { method });
  }

  #answered(method: string, { code, message, data }: WireError): RpcError {
    const error = new RpcError(message, { code, data });
    return Object.assign(error, { operation: "call", path: this.#path, method });
  }

  #context(method: string, operation = "call"): ErrorContext<string | null> {
    const at = this.#path === null ? "" : ` at ${quoteAddress(this.#path)}`;
    return new ErrorContext(
      operation,
      this.#path,
      `Cannot ${operation} ${JSON.stringify(method)}${at}`,
    );
  }

  #reject(call: Call, error: unknown): void {
    call.stop?.();
    rejectSeen(call.resolve, error, call.promise);
  }
}
