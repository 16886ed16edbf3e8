/**
 * Reading a thrown value, which may throw again. Code of users may throw anything: a value without
 * a text, a revoked proxy, an error with a getter that throws.
 */

/** Returns the options of an `Error`, without an empty `cause`. */
export function causeOf({ cause }: { cause?: unknown }): ErrorOptions {
  return cause === undefined ? {} : { cause };
}

/** Returns what `read` returns, or `otherwise` if reading throws. */
export function readThrown<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}
