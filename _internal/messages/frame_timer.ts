/** A limit on the time from the first bytes of a message to its last. */

import { SilenceTimer } from "../base/silence.ts";

/** Counts the time of reads only: while nothing is received, a message may stay incomplete. */
export class FrameTimer {
  readonly #timeoutMs: number;
  readonly #silence: SilenceTimer;
  #leftMs = 0;

  constructor(timeoutMs: number, onTimeout: () => void) {
    this.#timeoutMs = timeoutMs;
    this.#silence = new SilenceTimer(onTimeout);
  }

  /** Sets the whole limit, because another message has begun. */
  restart(): void {
    this.#leftMs = this.#timeoutMs;
    this.#silence.renew(this.#timeoutMs);
  }

  /** Applies what is left of the limit to one read. */
  async watch<R>(reading: Promise<R>): Promise<R> {
    this.#silence.resume(this.#leftMs);
    try {
      return await reading;
    } finally {
      this.#leftMs = this.#silence.stop();
    }
  }

  stop(): void {
    this.#silence.stop();
  }
}
