/**
 * Signals that shut down a server.
 *
 * @module
 */

import { checked } from "./_internal/base/caller_stack.ts";
import { checkArguments, show } from "./_internal/base/check.ts";
import { Reporter } from "./_internal/server/reporter.ts";

/** How long, in milliseconds, further signals count as the first one. */
const SAME_SIGNAL_MS = 500;

/**
 * Shuts down a server when the process gets a signal.
 *
 * - The first signal calls `shutdown()`, and the process goes on: await `finished` of the server.
 *   If `shutdown()` fails, its error is printed on standard error.
 * - A second signal has its default effect, which is the end of the process. It counts only half a
 *   second after the first: under `deno task`, and under other programs that pass signals on, one
 *   Ctrl-C arrives twice. In the first process of a container (PID 1) it has no effect, because the
 *   kernel ignores it there.
 * - Call this as soon as the server listens. The listeners do not keep the process running.
 * - It works with every object that has a `shutdown()`: a server of `serve()`, of `Deno.serve`, or
 *   your own. To pass options, or to stop several servers, write the object yourself:
 *   `{ shutdown: () => server.shutdown({ timeout: 2000 }) }`.
 *
 * **Permissions**: none.
 *
 * @param server The server.
 * @param signals The signals, by default those of Ctrl-C and of service managers: `SIGINT` and
 * `SIGTERM`.
 * @returns Dispose of it to stop listening for signals. It does not shut down the server.
 * @throws {TypeError} when an argument has the wrong type, or the system does not allow a listener
 * for one of the signals.
 *
 * @example Usage
 * ```ts
 * import { probe, serve, shutdownOnSignal } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * const server = await serve(path, async () => {});
 * using _signals = shutdownOnSignal(server);
 *
 * // As systemd does it, or `kill`.
 * Deno.kill(Deno.pid, "SIGTERM");
 * await server.finished;
 * assertEquals((await probe(path)).state, "free");
 * ```
 *
 * @category Servers
 */
export function shutdownOnSignal(
  server: { shutdown(): Promise<unknown> },
  signals: readonly Deno.Signal[] = ["SIGINT", "SIGTERM"],
): Disposable {
  checked(shutdownOnSignal, () => {
    checkArguments("shutdownOnSignal", arguments, 2, 'shutdownOnSignal(server, ["SIGTERM"])');
    if (typeof server?.shutdown !== "function") {
      throw new TypeError(`Invalid server: expected one with shutdown(), got ${show(server)}`);
    }
    if (!Array.isArray(signals)) {
      throw new TypeError(`Invalid signals: expected an array, got ${show(signals)}`);
    }
  });
  let timer: ReturnType<typeof setTimeout> | undefined;
  const onSignal = () => {
    if (timer !== undefined) return;
    timer = setTimeout(stopListening, SAME_SIGNAL_MS);
    Deno.unrefTimer(timer);
    shutDown(server);
  };
  const stopListening = () => {
    clearTimeout(timer);
    for (const signal of listened.splice(0)) Deno.removeSignalListener(signal, onSignal);
  };
  const listened: Deno.Signal[] = [];
  try {
    for (const signal of signals) {
      Deno.addSignalListener(signal, onSignal);
      listened.push(signal);
    }
  } catch (error) {
    stopListening();
    throw error;
  }
  return { [Symbol.dispose]: stopListening };
}

async function shutDown(server: { shutdown(): Promise<unknown> }): Promise<void> {
  try {
    await server.shutdown();
  } catch (error) {
    new Reporter().report(error);
  }
}
