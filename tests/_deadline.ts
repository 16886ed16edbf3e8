/**
 * The deadline of a test, and what it reports when it is over: the programs that still run, with
 * what each has printed.
 */

/** A program that a test has started. */
export interface RunningProgram {
  /** Returns its command, what it has printed, and what the test waits for. */
  describe(): string;
  /** Kills it. */
  stop(): void;
}

/** The programs that run now. */
export const running: Set<RunningProgram> = new Set();

/** How many characters of a command, and of the end of an output, a report has at most. */
const MOST_SHOWN = 1500;

/** Returns the lines of a report about a program. */
export function report(command: readonly string[], details: Record<string, string>): string {
  const lines = Object.entries(details).filter(([, text]) => text !== "").map(([name, text]) =>
    `  ${name}: ${JSON.stringify(text.slice(-MOST_SHOWN))}`
  );
  return [`running: ${command.join(" ").slice(-MOST_SHOWN)}`, ...lines].join("\n");
}

/** How long, in milliseconds, the output of a program may take to end after it was killed. */
const OUTPUT_MS = 5000;

/**
 * Waits for the end of a program's output. Rejects if another process, which the program has
 * started, holds it open: the failure of the test would otherwise look like one that hangs.
 */
export async function ending(ended: Promise<unknown>, cancel: () => unknown): Promise<void> {
  try {
    await within(OUTPUT_MS, ended);
  } catch (error) {
    cancel();
    await ended;
    throw error;
  }
}

/** How long, in milliseconds, a test that was too late may take to end without its programs. */
const STOPPED_MS = 5000;

/**
 * Runs a test, and rejects if it takes longer than `ms` milliseconds. Its programs are killed then:
 * it would go on during the next test, which would fail by its leaks.
 */
export async function runWithin(ms: number, test: () => Promise<void> | void): Promise<void> {
  const before = new Set(running);
  const work = (async () => await test())();
  try {
    await within(ms, work);
  } catch (error) {
    for (const program of running) if (!before.has(program)) program.stop();
    const others = () => [...running].some((program) => !before.has(program));
    const isOver = work.catch(() => {}).then(() => until(() => !others()));
    await within(STOPPED_MS, isOver).catch(() => {});
    throw firstOf(error);
  }
}

/** Resolves when a condition holds. */
async function until(holds: () => boolean): Promise<void> {
  while (!holds()) await new Promise((resolve) => setTimeout(resolve, 10));
}

/** Returns the failure itself, with that of the cleanup after it. Deno shows neither of the two. */
function firstOf(error: unknown): unknown {
  if (!(error instanceof SuppressedError)) return error;
  const first = firstOf(error.suppressed);
  if (first instanceof Error) first.message += `\nIts cleanup failed, too: ${error.error}`;
  return first;
}

/** How often, in milliseconds, the load of the machine is looked at. */
const LOOK_MS = 250;

/** The longest time between two looks that counts: in a longer one this process stood still. */
const LONGEST_LOOK_MS = 500;

/**
 * Rejects if the work takes longer than `ms` milliseconds. While more processes want a processor
 * than there are, only our share of that time counts. Time for which the machine was stopped does
 * not count.
 */
export async function within<T>(ms: number, work: Promise<T> | T): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const start = performance.now();
    let left = ms;
    const wait = () => {
      const began = performance.now();
      timer = setTimeout(() => {
        left -= Math.min(performance.now() - began, LONGEST_LOOK_MS) * shareOfProcessors();
        if (left > 0) return wait();
        const took = Math.round(performance.now() - start);
        const state = `not done within ${ms} ms (with the load of the machine, ${took} ms)`;
        reject(new Error([state, ...[...running].map((each) => each.describe())].join("\n")));
      }, Math.min(left, LOOK_MS));
    };
    wait();
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

const LOADAVG = "/proc/loadavg";

/** Returns which part of the time a process that wants a processor has one now, up to 1. */
function shareOfProcessors(): number {
  if (Deno.build.os !== "linux") return 1;
  // Below /proc, Deno refuses also what a query calls granted.
  const { state } = Deno.permissions.querySync({ name: "read", path: LOADAVG });
  try {
    if (state !== "granted") return 1;
    // "0.20 0.18 0.12 3/80 11206": 3 of 80 threads want one.
    const wanting = Number(Deno.readTextFileSync(LOADAVG).match(/(\d+)\//)?.[1]);
    return Math.min(1, navigator.hardwareConcurrency / wanting);
  } catch {
    return 1;
  }
}
