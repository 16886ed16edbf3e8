/** The stack of an error that leaves a public function. */

import { isSocketError } from "../../errors.ts";

/**
 * Lets the stack of an error begin where a public function was called, and returns the error. Of an error
 * that nothing catches Deno prints the first line of the stack: it should be the caller's, not ours.
 *
 * Errors that are not in the shape of this package keep their stacks: they may be faults of ours.
 *
 * @param called The public function, which must be running.
 * @param error What it throws.
 */
export function seenFrom(called: (...args: never[]) => unknown, error: unknown): unknown {
  if (error instanceof Error && (isSocketError(error) || error.message.startsWith("Invalid "))) {
    Error.captureStackTrace(error, called);
  }
  return error;
}
