/** Progress of a command on a terminal. */

import type { CommonFlags } from "../parse/command.ts";
import { printError } from "./output.ts";

/** The shortest time between two updates. */
const UPDATE_MS = 100;

/** A line of progress on standard error, if that is a terminal. */
export class Progress implements Disposable {
  readonly #isShown: boolean;
  #next = 0;

  constructor({ json, quiet }: CommonFlags) {
    this.#isShown = !json && !quiet && Deno.stderr.isTerminal();
  }

  /** Replaces the line, unless it was replaced just before. */
  show(what: string, value: () => string): void {
    if (!this.#isShown) return;
    const now = performance.now();
    if (now < this.#next) return;
    this.#next = now + UPDATE_MS;
    printError(`\r\x1b[K${what}: ${value()}`);
  }

  /** Clears the line. */
  [Symbol.dispose](): void {
    if (this.#isShown) printError("\r\x1b[K");
  }
}
