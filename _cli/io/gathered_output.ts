/** Lines for standard output that are gathered while earlier ones are written. */

import { print } from "./output.ts";

/** Characters that may wait; what comes then is held back. */
const MAX_PENDING_CHARS = 256 * 1024;

/** Lines that are written together. */
export class GatheredOutput {
  readonly #onError: (error: unknown) => void;
  #text = "";
  #writing: Promise<void> | undefined;
  #batch: Promise<void> | undefined;

  /** @param onError Called when nothing can be printed any more. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Adds a line. Returns a promise to wait for before more is added, if enough is waiting. */
  add(line: string): Promise<void> | undefined {
    this.#text += line;
    this.#writing ??= this.#write();
    return this.#text.length > MAX_PENDING_CHARS ? this.#batch : undefined;
  }

  /** Waits until everything is written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    // What else comes in this turn goes along.
    this.#batch = new Promise((resolve) => void setImmediate(resolve));
    await this.#batch;
    try {
      while (this.#text !== "") {
        const text = this.#text;
        this.#text = "";
        await (this.#batch = print(text));
      }
    } catch (error) {
      this.#text = "";
      this.#onError(error);
    } finally {
      this.#writing = undefined;
    }
  }
}
