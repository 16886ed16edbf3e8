/** Waiting: timers that leave nothing behind. */

/** Resolves after some milliseconds, or rejects with the signal's reason as soon as it aborts. */
export function delay(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/**
 * Resolves after one full turn of the event loop: what was ready when it began has been handled.
 * A microtask or `setImmediate` would not do, because sockets are polled only between timers.
 */
export function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** The runtime (tokio) looks for what has come to sockets after so many turns that leave it no rest. */
const BUSY_TURNS = 61;

/**
 * Lets the other sockets of the process have a turn, in about a tenth of the time that {@linkcode turn} takes
 * where there is nothing to do for them: a timer takes a millisecond or two.
 */
export function othersTurn(): Promise<void> {
  return new Promise((resolve) => {
    let left = BUSY_TURNS;
    const next = () => left-- > 0 ? setImmediate(next) : resolve();
    next();
  });
}

/** Calls back when the signal aborts, now if it has already; gives back the way to stop listening. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  // Not before the caller has what this gives back.
  if (signal?.aborted) queueMicrotask(callback);
  else signal?.addEventListener("abort", callback, { once: true });
  return () => signal?.removeEventListener("abort", callback);
}
