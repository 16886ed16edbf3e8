/** Ending a command that runs until it is told to stop. */

const SIGNALS: Deno.Signal[] = ["SIGINT", "SIGTERM"];

/** Resolves at the first SIGINT or SIGTERM. The second one has its usual effect: it ends the process. */
export function untilSignal(): Promise<void> {
  return new Promise((resolve) => {
    const stop = () => {
      for (const signal of SIGNALS) Deno.removeSignalListener(signal, stop);
      resolve();
    };
    for (const signal of SIGNALS) Deno.addSignalListener(signal, stop);
  });
}
