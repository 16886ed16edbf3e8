/** The stack of an error that leaves a public function. */

import { isSocketError } from "../../errors.ts";

/**
 * Cuts the stack of an error, so that it begins where a public function was called. Returns the
 * error.
 *
 * - Deno prints the first line of the stack of an uncaught error. That line should be the caller's.
 * - An error without the shape of this package keeps its stack: it may be a fault of ours.
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
