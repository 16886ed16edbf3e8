/**
 * The stop signal of these example servers: an AbortSignal that aborts at Ctrl-C and at SIGTERM.
 *
 * A second signal, half a second later or more, has its default effect and ends the program at
 * once. An earlier one is ignored: under `deno task` one Ctrl-C arrives twice.
 */

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/**
 * Returns a signal that aborts at the first Ctrl-C or SIGTERM. Call this before there is a path to
 * remove.
 */
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
