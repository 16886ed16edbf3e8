/**
 * A call of a pool.
 *
 * ```text
 * waits ──► runs ──► settled, with the answer
 *   ▲        │ └───► settled, because it was given up: its child runs on for a while
 *   └────────┘       its child has ended, and the call may run again
 * ```
 */

import { rejectSeen } from "../base/caller_stack.ts";
import { limitWait } from "../base/silence.ts";
import type { CallOptions } from "../rpc/calls.ts";

/**
 * Options of {@linkcode Pool.call}.
 *
 * @category Children
 */
export interface PoolCallOptions extends CallOptions {
  /**
   * Cancels the call: its promise rejects at once with the signal's reason. If the call runs, the
   * `signal` of its method aborts, and its child is killed if it goes on: see
   * {@linkcode PoolOptions.cancelGrace}.
   */
  signal?: AbortSignal | undefined;
  /**
   * How long, in milliseconds, the call may take: to wait for a child, and to run. Then it rejects
   * with `TimedOut`, and is canceled as by `signal`.
   *
   * @default {that of the pool}
   */
  timeout?: number | undefined;
  /**
   * Whether the method may run twice. If a child ends before the answer, another one then runs the
   * call. After three children have ended, it rejects.
   *
   * @default {whether `idempotent` of the pool has the method}
   */
  idempotent?: boolean | undefined;
  /**
   * Called with what the method sends by `context.notify("progress", …)`, an object or an array. It
   * needs a `maxConcurrent` of 1, and `methods` of the pool without a `progress`.
   */
  onProgress?: ((progress: never) => void) | undefined;
}

/** What limits a call, and where its progress goes. */
export type TaskOptions = Pick<PoolCallOptions, "signal" | "onProgress"> & {
  readonly timeout: number;
  readonly idempotent: boolean;
};

/** A call of a pool. */
export class Task {
  readonly method: string;
  readonly params: object | undefined;
  readonly idempotent: boolean;
  readonly promise: Promise<unknown>;
  /** The number of children to which it was given. */
  runs = 0;
  isSettled = false;
  /** Whether it waits for a child, or was given up while it did. */
  isWaiting = true;
  readonly #onProgress: PoolCallOptions["onProgress"];
  readonly #settle: PromiseWithResolvers<unknown>;
  readonly #stopLimits: () => void;

  /**
   * @param onTimeout Called when its time is over.
   * @param onAbort Called when its signal aborts.
   */
  constructor(
    method: string,
    params: object | undefined,
    { signal, timeout, idempotent, onProgress }: TaskOptions,
    giveUp: { onTimeout: () => void; onAbort: () => void },
  ) {
    this.method = method;
    this.params = params;
    this.idempotent = idempotent;
    this.#onProgress = onProgress;
    this.#settle = Promise.withResolvers();
    this.promise = this.#settle.promise;
    this.#stopLimits = limitWait(timeout, signal, giveUp.onTimeout, giveUp.onAbort);
  }

  resolve(result: unknown): void {
    this.#stop();
    this.#settle.resolve(result);
  }

  reject(error: unknown): void {
    this.#stop();
    rejectSeen(this.#settle.resolve, error, this.promise);
  }

  /** Passes on what the method reports of its progress. */
  report(progress: object): void {
    if (!this.isSettled) this.#onProgress?.(progress as never);
  }

  #stop(): void {
    this.isSettled = true;
    this.#stopLimits();
  }
}
