/**
 * The size of any process: its memory, descriptors and children, as Linux counts them.
 *
 * - `RssAnon` is the memory without a file behind it. The program itself does not count: its pages
 *   come and go.
 * - A process that reports it also has the memory in use after a collection of garbage.
 * - Descriptors and children must be as at the first sample. Memory must not rise: a line is fitted
 *   through the samples after the first third, in which caches and buffers grow to their size.
 * - Resident memory takes minutes to grow to its size, so a short run does not judge it.
 */

import { nap, type ProcessName } from "./load.ts";

const MIB = 2 ** 20;
/** How many MiB the fitted line may rise: of the memory in use, and of the resident memory. */
const RISE = 2;
const RESIDENT_RISE = 4;
const RESIDENT_MINUTES = 8;

/** How long to wait until the descriptors and children of a process are as before. */
const LATE_MS = 5000;
/** How long they stay the same when a process rests. */
const QUIET_MS = 300;
const POLL_MS = 10;

/** What is counted at a rest. */
export interface Sample {
  readonly seconds: number;
  /** Memory in use after a collection, in MiB, if the process reports it. */
  readonly memory: number | undefined;
  /** Resident memory, in MiB. */
  readonly resident: number;
  readonly descriptors: number;
  readonly children: number;
}

type Open = Pick<Sample, "descriptors" | "children">;

/** Returns the processes that a process has started. A thread of it may end meanwhile. */
export function childrenOf(pid: number): number[] {
  return [...Deno.readDirSync(`/proc/${pid}/task`)].flatMap(({ name }) => {
    try {
      return Deno.readTextFileSync(`/proc/${pid}/task/${name}/children`).split(" ");
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return [];
      throw error;
    }
  }).filter(Boolean).map(Number);
}

/** Reports whether a process runs. */
export function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch {
    return false;
  }
}

function openIn(pid: number): Open {
  const descriptors = [...Deno.readDirSync(`/proc/${pid}/fd`)].length;
  return { descriptors, children: childrenOf(pid).length };
}

function residentOf(pid: number): number {
  const [, kib] = /^RssAnon:\s+(\d+)/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`))!;
  return Number(kib) * 1024 / MIB;
}

function isSame(a: Open, b: Open): boolean {
  return a.descriptors === b.descriptors && a.children === b.children;
}

/** Counts when it is as expected, or without that when it stays as it is. */
async function settled(pid: number, expected: Open | undefined): Promise<Open> {
  const begin = performance.now();
  for (let last = openIn(pid), since = begin;;) {
    const now = performance.now();
    const isDone = expected === undefined ? now - since > QUIET_MS : isSame(last, expected);
    if (isDone || now - begin > LATE_MS) return last;
    await nap(POLL_MS);
    const next = openIn(pid);
    if (!isSame(last, next)) since = performance.now();
    last = next;
  }
}

/** Returns the rise of the line of best fit, from the first point to the last one. */
export function riseOf(points: readonly (readonly [x: number, y: number])[]): number {
  const mean = (values: number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const x = mean(points.map(([x]) => x));
  const y = mean(points.map(([, y]) => y));
  const over = mean(points.map((point) => (point[0] - x) * (point[1] - y)));
  const under = mean(points.map((point) => (point[0] - x) ** 2));
  return over / under * (points.at(-1)![0] - points[0]![0]);
}

/** The samples of the processes of one role. */
export class Track {
  readonly role: string;
  readonly isReplaced: boolean;
  readonly samples: Sample[] = [];
  readonly #pids = new Set<number>();

  constructor({ role, isReplaced }: ProcessName) {
    this.role = role;
    this.isReplaced = isReplaced;
  }

  /** Counts one of its processes. */
  async sample(pid: number, seconds: number, memory: number | undefined): Promise<void> {
    this.#pids.add(pid);
    const open = await settled(pid, this.samples[0]);
    this.samples.push({ seconds, memory, resident: residentOf(pid), ...open });
  }

  /** The samples after the first third. */
  get #settled(): Sample[] {
    return this.samples.slice(Math.floor(this.samples.length / 3));
  }

  #rise(what: "memory" | "resident"): number {
    return riseOf(this.#settled.map((sample) => [sample.seconds, sample[what] ?? 0] as const));
  }

  /** Returns a line about it. */
  summary(): string {
    const [first, last] = [this.#settled[0]!, this.samples.at(-1)!];
    const open = `${last.descriptors} descriptors, ${last.children} children`;
    if (this.isReplaced) return `${this.role}: ${this.#pids.size} processes, each with ${open}`;
    const grown = (what: "memory" | "resident") =>
      `${what} ${first[what]!.toFixed(1)} to ${last[what]!.toFixed(1)} MiB, ` +
      `line ${this.#rise(what).toFixed(2)}`;
    const memory = last.memory === undefined ? "" : `${grown("memory")}; `;
    return `${this.role}: ${memory}${grown("resident")}; ${open}`;
  }

  /** Returns what has grown. */
  faults(): string[] {
    const [first] = this.samples as [Sample];
    const faults = this.samples.filter((sample) => !isSame(sample, first)).map((sample) =>
      `${sample.descriptors} descriptors and ${sample.children} children after ` +
      `${sample.seconds.toFixed(0)} s, and ${first.descriptors} and ${first.children} at the ` +
      `beginning`
    );
    if (!this.isReplaced) {
      if (this.#pids.size > 1) faults.push("it has ended, and another process has its place");
      if (this.#rise("memory") > RISE) faults.push("its memory in use rises");
      const isLong = this.samples.at(-1)!.seconds > RESIDENT_MINUTES * 60;
      if (isLong && this.#rise("resident") > RESIDENT_RISE) {
        faults.push("its resident memory rises");
      }
    }
    return faults.map((fault) => `${this.role}: ${fault}`);
  }
}
