/**
 * Signals that stop a program: the first one gracefully, a second one at once.
 *
 * - A signal that was ignored at the start stays ignored, if that can be detected.
 * - A second signal counts only half a second after the first. After a Ctrl-C, `deno task` sends
 *   another SIGINT to its command.
 */

import { isGranted } from "../../_internal/base/deno_permissions.ts";
import { QuietEnd } from "../exit_codes.ts";
import { readProc } from "./proc.ts";

/** The signals that stop a program, and their numbers. */
const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** One of them. */
export type StopSignal = keyof typeof NUMBERS;

// Windows has no SIGTERM, and ends a process soon after its SIGHUP.
const SIGNALS: readonly StopSignal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGHUP", "SIGINT", "SIGTERM"];

/** How long, in milliseconds, further signals count as the first one. */
const SAME_SIGNAL_MS = 500;

/** How long, in milliseconds, a signal to this process itself may take to end it. */
const MOST_ENDING_MS = 1000;

/** The shell that prints which signals are ignored. */
const SHELL = "sh";
/** A shell cannot trap a signal that was ignored when it started. */
const PRINT_IGNORED =
  `for s in HUP INT TERM; do t=; trap t=1 $s; kill -$s $$; [ "$t" ] || echo SIG$s; done`;

/** The first process of a container, for which signals have no default action. */
const INIT_PID = 1;

/** Removes the listeners that replace the default actions in the first process of a container. */
let removeDefaults: (() => void) | undefined;

/** Aborts at the first signal. Call this before there is anything to clean up. */
export function stopSignal(
  onSecond?: () => void,
  signals: readonly StopSignal[] = SIGNALS,
): AbortSignal {
  const stop = new AbortController();
  onStopSignals(() => stop.abort(new QuietEnd("told to stop")), onSecond, signals);
  return stop.signal;
}

/** Calls back at each signal of a kind, unless it was ignored at the start. */
export function onSignal(signal: "SIGHUP" | "SIGUSR2", callback: () => void): void {
  const isIgnored = signal === "SIGHUP" && ignoredSignals().has(signal);
  if (!isIgnored) Deno.addSignalListener(signal, callback);
}

/** Calls back at the first signal, and at the second one just before it ends the process. */
export function onStopSignals(
  onFirst: (signal: StopSignal) => void,
  onSecond?: (signal: StopSignal) => void,
  signals: readonly StopSignal[] = SIGNALS,
): void {
  let since: number | undefined;
  const remove = listen(signals, (signal) => {
    if (since === undefined) {
      since = performance.now();
      onFirst(signal);
    } else if (performance.now() - since >= SAME_SIGNAL_MS) {
      onSecond?.(signal);
      remove();
      endBy(signal);
    }
  });
}

/** Keeps ignored signals ignored. Deno itself would stop ignoring them. */
export function keepIgnored(): void {
  for (const signal of ignoredSignals()) Deno.addSignalListener(signal, () => {});
}

/** Makes signals end the first process of a container, until another listener is added. */
export function endAsInit(): void {
  if (Deno.pid === INIT_PID) removeDefaults = listen(SIGNALS, endBy);
}

/** Listens to the signals that are not ignored. Returns a function that stops listening. */
function listen(
  signals: readonly StopSignal[],
  callback: (signal: StopSignal) => void,
): () => void {
  removeDefaults?.();
  removeDefaults = undefined;
  const ignored = ignoredSignals();
  const listeners = signals.map((signal) =>
    [signal, ignored.has(signal) ? () => {} : () => callback(signal)] as const
  );
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  return () => {
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
  };
}

/** Ends this process by the default action of a signal. */
function endBy(signal: StopSignal): void {
  if (Deno.pid === INIT_PID) Deno.exit(128 + NUMBERS[signal]);
  Deno.kill(Deno.pid, signal);
  // Another thread of Deno's acts on it. Until then this one must not end the process otherwise.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, MOST_ENDING_MS);
}

let known: ReadonlySet<StopSignal> | undefined;

/**
 * Returns the signals that were ignored when this process started, as far as it can be detected.
 * `nohup` ignores SIGHUP. A shell without job control ignores SIGINT for a command with `&`.
 *
 * Call this before adding any listener: the first one catches all signals. Deno adds one itself
 * half a second after its start.
 */
function ignoredSignals(): ReadonlySet<StopSignal> {
  return known ??= new Set(Deno.build.os === "windows" ? [] : askSystem() ?? askShell() ?? []);
}

/** Reads them from `/proc`. */
function askSystem(): StopSignal[] | undefined {
  const [, mask] = readProc("self/status")?.match(/^SigIgn:\s*([0-9a-f]+)$/m) ?? [];
  if (mask === undefined) return undefined;
  return SIGNALS.filter((signal) => BigInt(`0x${mask}`) >> BigInt(NUMBERS[signal] - 1) & 1n);
}

/** Gets them from a shell, which inherits them. */
function askShell(): StopSignal[] | undefined {
  if (!isGranted("run", SHELL)) return undefined;
  try {
    const { stdout } = new Deno.Command(SHELL, {
      args: ["-c", PRINT_IGNORED],
      stdin: "null",
      stderr: "null",
    }).outputSync();
    const lines = new TextDecoder().decode(stdout).split("\n");
    return SIGNALS.filter((signal) => lines.includes(signal));
  } catch {
    return undefined;
  }
}
