/**
 * A limit on how long reads of a connection may wait: one timer for any number of them.
 *
 * - It counts only while a read waits, from when the first one began to wait or the last bytes came.
 * - Until the first byte has come another limit may hold than after it.
 */

import { SilenceTimer } from "../base/silence.ts";

/** A limit on how long something may wait for the peer. */
export class IdleTimer {
  readonly #silence: SilenceTimer;
  /** Milliseconds that a read may wait now; `Infinity` for no limit. */
  #limit: number;
  /** The same once the first byte has come. */
  #idleTimeout: number;
  #waiting = 0;

  /**
   * @param firstByteTimeout Milliseconds until the first byte; `Infinity` for no limit.
   * @param idleTimeout Milliseconds after that.
   * @param onIdle Called when a read has waited for so many milliseconds.
   */
  constructor(firstByteTimeout: number, idleTimeout: number, onIdle: (ms: number) => void) {
    this.#limit = firstByteTimeout;
    this.#idleTimeout = idleTimeout;
    this.#silence = new SilenceTimer(() => {
      if (this.#waiting > 0) onIdle(this.#limit);
    });
  }

  /** Whether a read waits. */
  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** A read begins to wait. */
  begin(): void {
    if (this.#waiting++ === 0) this.#silence.start(this.#limit);
  }

  /** A read has ended, whatever came of it. */
  end(): void {
    this.#waiting--;
  }

  /** Bytes have come. */
  came(count: number): void {
    if (count > 0) this.#limit = this.#idleTimeout;
    // Other reads may be waiting still.
    this.#silence.start(this.#limit);
  }

  /** The connection has ended: nothing is waited for any more. */
  stop(): void {
    this.#limit = this.#idleTimeout = Infinity;
    this.#silence.stop();
  }
}
