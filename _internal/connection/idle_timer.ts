/**
 * A limit on how long the reads or the writes of a connection may wait: one timer for all of them.
 *
 * - It counts only while one of them waits, from when the first one began or the last bytes came.
 * - Until the first byte has come, another limit may apply.
 * - The time for which this process was stopped does not count: see base/silence.ts.
 */

import { seenFrom } from "../base/caller_stack.ts";
import { SilenceTimer } from "../base/silence.ts";

/** A limit on how long a connection may wait for its peer. */
export class IdleTimer {
  readonly #silence: SilenceTimer;
  /** The limit that applies now; `Infinity` for no limit. */
  #limitMs: number;
  /** The limit after the first byte. */
  #idleTimeoutMs: number;
  #waiting = 0;

  /**
   * @param firstByteTimeoutMs The limit until the first byte; `Infinity` for no limit.
   * @param idleTimeoutMs The limit after that.
   * @param onIdle Called with the limit when it is over.
   */
  constructor(firstByteTimeoutMs: number, idleTimeoutMs: number, onIdle: (ms: number) => void) {
    this.#limitMs = firstByteTimeoutMs;
    this.#idleTimeoutMs = idleTimeoutMs;
    this.#silence = new SilenceTimer(() => {
      if (this.#waiting > 0) onIdle(this.#limitMs);
    });
  }

  /** How many reads or writes wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Counts until a read or a write settles. */
  async during<T>(operation: Promise<T>): Promise<T> {
    if (this.#waiting++ === 0) this.restart();
    try {
      return await operation;
    } catch (error) {
      throw seenFrom(this.during, error);
    } finally {
      this.#waiting--;
    }
  }

  /** Counts anew, because bytes have come. Other reads may still wait. */
  came(count: number): void {
    if (count > 0) this.#limitMs = this.#idleTimeoutMs;
    this.restart();
  }

  /** Counts anew. */
  restart(): void {
    this.#silence.start(this.#limitMs);
  }

  /** Stops for good. */
  stop(): void {
    this.#limitMs = this.#idleTimeoutMs = Infinity;
    this.#silence.stop();
  }
}
