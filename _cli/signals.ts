/** Being told to stop. */

import { QuietEnd } from "./talk.ts";

/** The signals that ask a program to end. */
export type StopSignal = "SIGINT" | "SIGTERM";

// Not SIGHUP: a listener would undo what nohup does. Windows has no SIGTERM.
const SIGNALS: readonly StopSignal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGINT", "SIGTERM"];

/**
 * Aborts at the first of the signals. To be called before there is anything to clean up. The second one
 * has its usual effect: it ends the process.
 */
export function stopSignal(): AbortSignal {
  const stop = new AbortController();
  onStopSignals((_, release) => {
    release();
    stop.abort(new QuietEnd("told to stop"));
  });
  return stop.signal;
}

/** Calls back at each of the signals, until they are released to their usual effect. */
export function onStopSignals(callback: (signal: StopSignal, release: () => void) => void): void {
  const listeners = SIGNALS.map((signal) => [signal, () => callback(signal, release)] as const);
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);

  function release(): void {
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
  }
}
