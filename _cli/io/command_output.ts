/** The output of a command, which ends with the command: whatever it leaves running may have its socket. */

import { ConnectionClosed } from "../../errors.ts";
import type { Child } from "../../pair.ts";

/** How often, after the end of the command, to wait for bytes that the kernel may still have, and how long. */
const WAITS = 5;
const WAIT_MS = 50;

/** The most bytes to read after the end of the command: no socket buffer holds more by default. */
const MAX_LEFT = 4 * 1024 * 1024;

/** What a command has written, until its end. */
export class CommandOutput {
  readonly #child: Child;
  #hasExited = false;
  #isReading = false;
  /** Several short waits: a process that is busy with something else meanwhile counts one of them. */
  #waits = WAITS;
  #left = MAX_LEFT;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(child: Child) {
    this.#child = child;
    child.status.then(() => {
      this.#hasExited = true;
      this.#wait();
    });
  }

  /** Reads what is there; resolves to `null` at the end of file, and when the command left nothing more. */
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

  /** Closes the socket after some waits in which a read brought nothing. */
  #wait(): void {
    if (!this.#hasExited || !this.#isReading) return;
    this.#timer = setTimeout(() => {
      if (--this.#waits <= 0) this.#child.conn.close();
      else this.#wait();
    }, WAIT_MS);
  }
}
