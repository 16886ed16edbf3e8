/**
 * How long reads of a connection may wait: one timer for any number of them.
 *
 * - It counts only while a read waits, from when the first one began to wait or the last bytes came.
 * - Until the first byte has come another time may hold than after it.
 */

/** A limit on how long reads may wait. */
export class IdleTimer {
  /** Milliseconds that a read may wait now; `Infinity` for no limit. */
  #patience: number;
  /** The same once the first byte has come. */
  #idleTimeout: number;
  readonly #onIdle: (ms: number) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #lastActive = 0;
  #waiting = 0;

  /**
   * @param firstByteTimeout Milliseconds until the first byte; `Infinity` for no limit.
   * @param idleTimeout Milliseconds after that.
   * @param onIdle Is called when a read has waited for so many milliseconds.
   */
  constructor(firstByteTimeout: number, idleTimeout: number, onIdle: (ms: number) => void) {
    this.#patience = firstByteTimeout;
    this.#idleTimeout = idleTimeout;
    this.#onIdle = onIdle;
  }

  /** Whether a read waits. */
  get isWaiting(): boolean {
    return this.#waiting > 0;
  }

  /** A read begins to wait. */
  begin(): void {
    if (this.#waiting++ === 0) this.#lastActive = performance.now();
    this.#start();
  }

  /** A read has ended, whatever came of it. */
  end(): void {
    this.#waiting--;
  }

  /** Bytes have come. */
  came(count: number): void {
    this.#lastActive = performance.now();
    if (count === 0 || this.#patience === this.#idleTimeout) return;
    this.#patience = this.#idleTimeout;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    // Other reads may be waiting still.
    this.#start();
  }

  /** The connection has ended: nothing is waited for any more. */
  stop(): void {
    clearTimeout(this.#timer);
    this.#patience = this.#idleTimeout = Infinity;
  }

  #start(): void {
    if (this.#patience === Infinity) return;
    this.#timer ??= setTimeout(() => this.#check(), this.#patience);
  }

  #check(): void {
    this.#timer = undefined;
    if (this.#waiting === 0) return;
    const rest = this.#lastActive + this.#patience - performance.now();
    if (rest > 0) this.#timer = setTimeout(() => this.#check(), Math.ceil(rest));
    else this.#onIdle(this.#patience);
  }
}
