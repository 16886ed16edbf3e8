/** Pauses between tries. */

/**
 * Pauses that double from the first to the last. Each is shortened by up to a half at random:
 * many clients that wait for one server must not all try at the same moment.
 */
export class GrowingPauses {
  readonly #first: number;
  readonly #last: number;
  #next: number;

  /**
   * @param first The first pause, in milliseconds.
   * @param last The longest one.
   */
  constructor(first: number, last: number) {
    this.#first = this.#next = first;
    this.#last = last;
  }

  /** Returns how many milliseconds to wait before the next try. */
  next(): number {
    const pause = this.#next;
    this.#next = Math.min(2 * pause, this.#last);
    return pause * (1 - Math.random() / 2);
  }

  /** Begins again with the first pause, because a try has succeeded. */
  reset(): void {
    this.#next = this.#first;
  }
}
