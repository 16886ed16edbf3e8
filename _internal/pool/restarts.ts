/** When a pool may start its next child. */

import { GrowingPauses } from "../base/growing_pauses.ts";

const FIRST_PAUSE_MS = 10;
/** How long no child may have failed until the pauses begin again with the first. */
const CALM_MS = 1000;

/** The pauses after the ends of children, so that a flood of crashes does not spin. */
export class Restarts {
  readonly #pauses: GrowingPauses;
  #at = -Infinity;

  /** @param longest The longest pause, in milliseconds. */
  constructor(longest: number) {
    this.#pauses = new GrowingPauses(Math.min(FIRST_PAUSE_MS, longest), longest);
  }

  /** How many milliseconds the next start must wait. */
  get pause(): number {
    return Math.max(0, this.#at - performance.now());
  }

  /** Whether no child has failed lately. Otherwise only one starts at a time. */
  get isCalm(): boolean {
    return performance.now() > this.#at + CALM_MS;
  }

  /** A child has ended without being asked, or did not start. */
  failed(): void {
    if (this.isCalm) this.#pauses.reset();
    this.#at = performance.now() + this.#pauses.next();
  }
}
