/**
 * A subject of the benchmark: its contenders, and the lines that it must reach. A subject is data.
 * The programs that it names do the work.
 */

/** The report of both ends after a run. */
export interface Outcome {
  /** How long the timed pass took, in seconds. */
  seconds: number;
  /** Growth of the resident memory, in bytes, for subjects that measure memory. */
  memory?: number;
}

/** The load of a program: a warm-up pass, then the timed pass. */
export interface Load {
  /** Bytes of an item, such as a message, a chunk, or the traffic of a connection. */
  size: number;
  /** Items of the warm-up. */
  warm: number;
  /** Items of the timed pass. */
  count: number;
}

/** One way to do the work. */
export interface Contender {
  name: string;
  /** A file below `programs/`. Its ending selects the interpreter, its first argument the end. */
  program: string;
  /** The variant, which the program gets as its second argument. */
  variant?: string;
  /** Another file for the driving end, if all contenders share one. */
  client?: string;
  /** Items of a full run. Rates are compared, so slow contenders send fewer items. */
  count: number;
  /** Items of the warm-up, if the usual share of `count` is not right. */
  warm?: number;
  /** Whether it is one program, which starts its other end itself if it has one. */
  alone?: boolean;
  /** A package that it needs in addition to the runtime. */
  needs?: "zmq";
  /** The number of concurrent connections, if there are many. */
  connections?: number;
}

/** A ratio between two contenders, and the value that it must reach. */
export interface Line {
  ours: string;
  baseline: string;
  /** At least so many times the speed of the baseline … */
  atLeast?: number;
  /** … or at most so many times its cost. With neither the ratio is only reported. */
  atMost?: number;
  /** Why the line is missed, and what was tried. */
  missed?: string;
}

/** A comparison of contenders. */
export interface Subject {
  /** A short name for `--only`, and for its rows. */
  name: string;
  title: string;
  unit: string;
  better: "less" | "more";
  size: number;
  contenders: Contender[];
  lines: Line[];
  /** Returns the figure of a run. */
  value(outcome: Outcome, load: Load): number;
  /** The position on a curve, if it is a point of one. */
  point?: { curve: string; axis: string; x: number };
}

/** The share of the timed items that the warm-up has. */
const WARM_PART = 1 / 8;

/** Returns the load of a run; `scale` makes it smaller. */
export function loadOf(subject: Subject, contender: Contender, scale: number): Load {
  const count = Math.max(1, Math.round(contender.count * scale));
  const warm = contender.warm === undefined
    ? Math.max(1, Math.round(count * WARM_PART))
    : Math.min(contender.warm, count);
  return { size: subject.size, warm, count };
}

/** Returns gigabytes of payload per second. */
export function gigabytesPerSecond({ seconds }: Outcome, { size, count }: Load): number {
  return size * count / seconds / 1e9;
}

/** Returns thousands of items per second. */
export function thousandsPerSecond({ seconds }: Outcome, { count }: Load): number {
  return count / seconds / 1e3;
}

/** Returns microseconds per item. */
export function microseconds({ seconds }: Outcome, { count }: Load): number {
  return 1e6 * seconds / count;
}

/** Returns milliseconds per item. */
export function milliseconds({ seconds }: Outcome, { count }: Load): number {
  return 1e3 * seconds / count;
}
