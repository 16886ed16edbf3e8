/** Lines for standard output that are written together. */

import { print } from "./output.ts";

/** The maximum number of characters to gather. Callers wait when there are more. */
const MAX_GATHERED_CHARS = 256 * 1024;

/** Lines for standard output that are gathered while earlier ones are written. */
export class GatheredOutput {
  readonly #onError: (error: unknown) => void;
  #text = "";
  #writing: Promise<void> | undefined;
  #batch: Promise<void> | undefined;

  /** @param onError Called when nothing can be printed any more. */
  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Adds a line. Returns a promise to await before adding more, if enough is waiting. */
  add(line: string): Promise<void> | undefined {
    this.#text += line;
    this.#writing ??= this.#write();
    return this.#text.length > MAX_GATHERED_CHARS ? this.#batch : undefined;
  }

  /** Waits until everything is written. */
  async flush(): Promise<void> {
    await this.#writing;
  }

  async #write(): Promise<void> {
    // Lines that follow in the same turn are written together.
    await (this.#batch = new Promise((resolve) => void setImmediate(resolve)));
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
