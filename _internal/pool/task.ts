/**
 * A call of a pool.
 *
 * ```text
 * waits ──► runs ──► settled, with the answer
 *   ▲        │ └───► settled, because it was given up: its child runs on for a while
 *   └────────┘       its child has ended, and the call may run again
 * ```
 */

import type { PoolCallOptions } from "../../pool.ts";
import { handled } from "../base/rejection.ts";
import { limitWait } from "../base/silence.ts";

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
    this.promise = handled(this.#settle.promise);
    this.#stopLimits = limitWait(timeout, signal, giveUp.onTimeout, giveUp.onAbort);
  }

  resolve(result: unknown): void {
    this.#stop();
    this.#settle.resolve(result);
  }

  reject(error: unknown): void {
    this.#stop();
    this.#settle.reject(error);
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
