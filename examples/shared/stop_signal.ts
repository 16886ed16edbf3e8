/**
 * What the servers of this directory use to end: an AbortSignal that aborts at Ctrl-C and at SIGTERM.
 *
 * Half a second later another signal has its usual effect, and ends the program at once. Sooner it does
 * not count: under `deno task` one Ctrl-C arrives twice.
 */

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** Aborts at the first signal. Call this before there is a path to remove. */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  function onSignal() {
    stop.abort();
    Deno.unrefTimer(setTimeout(release, 500));
  }
  function release() {
    for (const signal of SIGNALS) Deno.removeSignalListener(signal, onSignal);
  }
  for (const signal of SIGNALS) Deno.addSignalListener(signal, onSignal);
  return stop.signal;
}
