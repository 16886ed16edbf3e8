/** Waits that leave no timer and no listener behind. */

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

/** The number of busy turns after which the runtime (tokio) polls its sockets. */
const BUSY_TURNS = 61;
/** The maximum number of times that other connections go first. */
const MOST_LOOKS = 10;

/** The number of arrivals at connections of this process. */
let arrivals = 0;

/** Returns the number of arrivals at connections of this process. */
export function countArrivals(): number {
  return arrivals;
}

/** Counts an arrival at a connection, for {@linkcode othersTurn}. */
export function arrived(): void {
  arrivals++;
}

/**
 * Waits while the other connections of the process have arrivals, for about a millisecond at most.
 * Reports whether there were any. Without one it takes a tenth of a millisecond, where a timer
 * would take one or two.
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

/** What to call when a signal aborts. */
const onAborts: WeakMap<AbortSignal, Set<() => void>> = new WeakMap();

/**
 * Calls back when the signal aborts, or soon if it has aborted. Returns a function that stops
 * listening. A signal has one listener of ours, because Deno compares a new one with all others.
 */
export function onAbort(signal: AbortSignal | undefined, callback: () => void): () => void {
  if (signal === undefined) return () => {};
  if (signal.aborted) {
    // Soon, not now: the caller may need what this returns.
    queueMicrotask(callback);
    return () => {};
  }
  let callbacks = onAborts.get(signal);
  if (callbacks === undefined) {
    onAborts.set(signal, callbacks = new Set());
    signal.addEventListener("abort", callBack, { once: true });
  }
  callbacks.add(callback);
  return () => {
    if (!callbacks.delete(callback) || callbacks.size > 0) return;
    signal.removeEventListener("abort", callBack);
    onAborts.delete(signal);
  };
}

function callBack(this: AbortSignal): void {
  const callbacks = onAborts.get(this) ?? [];
  onAborts.delete(this);
  for (const callback of callbacks) callback();
}
