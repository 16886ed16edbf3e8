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

/** After how many turns without a rest the runtime (tokio) looks at its sockets in any case. */
const BUSY_TURNS = 61;
/** How often others may go first. */
const MOST_LOOKS = 10;

/** How often something has come to a connection of this process. */
let arrivals = 0;

/** Returns how often something has come to a connection of this process. */
export function countArrivals(): number {
  return arrivals;
}

/** Something has come to a connection: whoever waits in {@linkcode othersTurn} lets it go first. */
export function arrived(): void {
  arrivals++;
}

/**
 * Lets the other connections of the process go first, for about a millisecond at most, and as long as
 * something comes to them; tells whether something did. Where nothing does it takes a tenth of that; a
 * timer would take one or two.
 */
export function othersTurn(): Promise<boolean> {
  return new Promise((resolve) => {
    let turns = 0;
    let looks = 0;
    let seen = arrivals;
    const next = () => {
      if (++turns % BUSY_TURNS === 0) {
        if (arrivals === seen || ++looks === MOST_LOOKS) return resolve(looks > 0);
        seen = arrivals;
      }
      setImmediate(next);
    };
    next();
  });
}

/** Calls back when the signal aborts, now if it has already; gives back the way to stop listening. */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  // Not at once: the caller may need what this returns.
  if (signal?.aborted) queueMicrotask(callback);
  else signal?.addEventListener("abort", callback, { once: true });
  return () => signal?.removeEventListener("abort", callback);
}
