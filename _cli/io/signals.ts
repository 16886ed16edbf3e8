/**
 * Signals that ask a program to end: the first one gracefully, a second one at once.
 *
 * - Those that were ignored at the start stay ignored, where that can be known.
 * - The second one counts only half a second after the first: `deno task` passes on a Ctrl-C that the
 *   terminal has sent to its command as well.
 */

import { isGranted } from "../../_internal/base/deno_permissions.ts";
import { QuietEnd } from "../exit_codes.ts";
import { readProc } from "./proc.ts";

/** The signals that ask a program to end, and their numbers. */
const NUMBERS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** One of them. */
export type StopSignal = keyof typeof NUMBERS;

// Windows has no SIGTERM, and ends a process soon after its SIGHUP.
const SIGNALS: readonly StopSignal[] = Deno.build.os === "windows"
  ? ["SIGINT"]
  : ["SIGHUP", "SIGINT", "SIGTERM"];

/** How long after the first signal others count as the same one. */
const SAME_SIGNAL_MS = 500;

/** The shell that is asked which signals are ignored. */
const SHELL = "sh";
/** A shell cannot trap a signal that was ignored when it started. */
const PRINT_IGNORED =
  `for s in HUP INT TERM; do t=; trap t=1 $s; kill -$s $$; [ "$t" ] || echo SIG$s; done`;

/** The process that a container starts with: to it no signal has a default action. */
const INIT_PID = 1;

/** What a signal does that nothing else listens to; as the first process of a container only. */
let removeDefaults: (() => void) | undefined;

/** Aborts at the first signal. Call this before there is anything to clean up. */
export function stopSignal(onSecond?: () => void): AbortSignal {
  const stop = new AbortController();
  onStopSignals(() => stop.abort(new QuietEnd("told to stop")), onSecond);
  return stop.signal;
}

/** Calls back at the first signal, and at the second one before that ends the process. */
export function onStopSignals(
  onFirst: (signal: StopSignal) => void,
  onSecond?: (signal: StopSignal) => void,
): void {
  let since: number | undefined;
  const remove = listen((signal) => {
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

/** Keeps signals ignored that were ignored at the start. Deno itself would undo that. */
export function keepIgnored(): void {
  const ignored = ignoredSignals();
  for (const signal of ignored) Deno.addSignalListener(signal, () => {});
}

/** Lets signals end the first process of a container, until something else listens to them. */
export function endAsInit(): void {
  if (Deno.pid === INIT_PID) removeDefaults = listen(endBy);
}

/** Listens to the signals that are not ignored; returns what ends that. */
function listen(callback: (signal: StopSignal) => void): () => void {
  removeDefaults?.();
  removeDefaults = undefined;
  const ignored = ignoredSignals();
  const listeners = SIGNALS.map((signal) =>
    [signal, ignored.has(signal) ? () => {} : () => callback(signal)] as const
  );
  for (const [signal, listener] of listeners) Deno.addSignalListener(signal, listener);
  return () => {
    for (const [signal, listener] of listeners) Deno.removeSignalListener(signal, listener);
  };
}

/** Ends this process as a signal does that nothing listens to. */
function endBy(signal: StopSignal): void {
  if (Deno.pid === INIT_PID) Deno.exit(128 + NUMBERS[signal]);
  Deno.kill(Deno.pid, signal);
}

let known: ReadonlySet<StopSignal> | undefined;

/**
 * The signals that were ignored when this process started: `nohup` ignores SIGHUP, and a shell without job
 * control SIGINT in what it starts by `&`. Empty where that cannot be known.
 *
 * Call this before anything listens to a signal: the first listener catches all of them. Deno does so
 * itself half a second after its start.
 */
function ignoredSignals(): ReadonlySet<StopSignal> {
  return known ??= new Set(Deno.build.os === "windows" ? [] : askSystem() ?? askShell() ?? []);
}

/** Reads it from /proc, which Deno shows only to a process with all permissions. */
function askSystem(): StopSignal[] | undefined {
  const [, mask] = readProc("self/status")?.match(/^SigIgn:\s*([0-9a-f]+)$/m) ?? [];
  if (mask === undefined) return undefined;
  return SIGNALS.filter((signal) => BigInt(`0x${mask}`) >> BigInt(NUMBERS[signal] - 1) & 1n);
}

/** Asks a shell, which inherits it. */
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
