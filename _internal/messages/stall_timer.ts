/** A limit on how long a write may wait for a peer that does not read. */

import { SilenceTimer } from "../base/silence.ts";

/** Measures progress by the `bytesWritten` of a connection, if it counts them. */
export class StallTimer {
  readonly #conn: { readonly bytesWritten?: unknown };
  readonly #timeoutMs: number;
  readonly #silence: SilenceTimer;
  /** The `bytesWritten` when the write began, and when progress was last seen. */
  #bytesBefore = 0;
  #bytesSeen = 0;

  /** @param onStall Called with the number of bytes of the write that the peer did take. */
  constructor(conn: object, timeoutMs: number, onStall: (written: number) => void) {
    this.#conn = conn;
    this.#timeoutMs = timeoutMs;
    this.#silence = new SilenceTimer(() => {
      const bytes = this.#bytesWritten;
      if (bytes <= this.#bytesSeen) return onStall(bytes - this.#bytesBefore);
      this.#bytesSeen = bytes;
      this.#silence.start(timeoutMs);
    });
  }

  /** Applies the limit to one write. */
  async watch(writing: Promise<number>): Promise<number> {
    this.#bytesBefore = this.#bytesSeen = this.#bytesWritten;
    this.#silence.start(this.#timeoutMs);
    try {
      return await writing;
    } finally {
      this.#silence.stop();
    }
  }

  stop(): void {
    this.#silence.stop();
  }

  get #bytesWritten(): number {
    const { bytesWritten } = this.#conn;
    return typeof bytesWritten === "number" ? bytesWritten : 0;
  }
}
