/** Failures that only mean that the peer closed its connection. */

import { readThrown } from "./thrown.ts";

/** Reports whether a failure, and each one of the cleanup after it, is that the peer closed. */
export function isPeerClosed(error: unknown): boolean {
  return readThrown(() => hasPeerClosed(error), false);
}

function hasPeerClosed(error: unknown): boolean {
  if (error instanceof SuppressedError) {
    return isPeerClosed(error.error) && isPeerClosed(error.suppressed);
  }
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe;
}
