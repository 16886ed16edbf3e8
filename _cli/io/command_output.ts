/** The output of a command. It ends with the command, even if a process that it left has the socket. */

import { ConnectionClosed } from "../../errors.ts";
import type { Child } from "../../pair.ts";

/** How often, and how long in milliseconds, to wait for bytes in the kernel after the command exits. */
const WAITS = 5;
const WAIT_MS = 50;

/** The maximum number of bytes to read after the exit. By default, no socket buffer holds more. */
const MAX_LEFT_BYTES = 4 * 1024 * 1024;

/** What a command writes until it exits. */
export class CommandOutput {
  readonly #child: Child;
  #hasExited = false;
  #isReading = false;
  /** The waits are short, so that a busy event loop counts as one of them only. */
  #waits = WAITS;
  #left = MAX_LEFT_BYTES;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(child: Child) {
    this.#child = child;
    child.status.then(() => {
      this.#hasExited = true;
      this.#wait();
    });
  }

  /** Reads available bytes. Resolves to `null` at end of file, or when an exited command left none. */
  async read(buffer: Uint8Array): Promise<number | null> {
    if (this.#left <= 0) return null;
    this.#isReading = true;
    this.#wait();
    try {
      const count = await this.#child.conn.read(buffer);
      if (this.#hasExited) this.#left -= count ?? 0;
      return count;
    } catch (error) {
      if (this.#waits <= 0 && error instanceof ConnectionClosed) return null;
      throw error;
    } finally {
      this.#isReading = false;
      clearTimeout(this.#timer);
    }
  }

  /** Closes the socket after some waits without a byte. */
  #wait(): void {
    if (!this.#hasExited || !this.#isReading) return;
    this.#timer = setTimeout(() => {
      if (--this.#waits <= 0) this.#child.conn.close();
      else this.#wait();
    }, WAIT_MS);
  }
}
