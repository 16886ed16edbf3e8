/**
 * What is measured: a subject, its contenders, and the lines that it must reach. A subject is data;
 * the work is in the programs that it names.
 */

/** What both ends have reported after a run. */
export interface Outcome {
  /** How long the timed pass took. */
  seconds: number;
  /** Growth of the resident memory in bytes, where that is what counts. */
  memory?: number;
}

/** How much a program has to do: a warm-up pass, then the pass that is timed. */
export interface Load {
  /** Bytes of an item: a message, a chunk, a connection's share. */
  size: number;
  /** Items of the warm-up. */
  warm: number;
  /** Items of the timed pass. */
  count: number;
}

/** One way to do the work. */
export interface Contender {
  name: string;
  /** A file below `programs/`; its ending says what runs it. It is both ends, by its first argument. */
  program: string;
  /** The variant, handed to the program as its second argument. */
  variant?: string;
  /** Another file for the driving end, where all contenders share one. */
  client?: string;
  /** Items of a full run. Rates are compared, so a slow contender does less, in about the same time. */
  count: number;
  /** Items of the warm-up, where the usual share of `count` is not right. */
  warm?: number;
  /** It is one program, which starts its other end itself if it has one. */
  alone?: boolean;
  /** A package that it takes beside the runtime. */
  needs?: "zmq";
  /** Connections that it has open at once, where those are many. */
  connections?: number;
}

/** A ratio between two contenders, and what it must reach. */
export interface Line {
  ours: string;
  baseline: string;
  /** At least so many times the speed of the baseline … */
  atLeast?: number;
  /** … or at most so many times its cost. With neither the ratio is only reported. */
  atMost?: number;
  /** Where it is missed: the reason, and what was tried. */
  missed?: string;
}

/** Something to compare. */
export interface Subject {
  /** A short name for `--only`, and for its rows. */
  name: string;
  title: string;
  unit: string;
  better: "less" | "more";
  size: number;
  contenders: Contender[];
  lines: Line[];
  /** The figure of a run. */
  value(outcome: Outcome, load: Load): number;
  /** Where it is a point of a curve: which one, and where. */
  point?: { curve: string; axis: string; x: number };
}

/** Items of a warm-up, as a part of those that are timed. */
const WARM_PART = 1 / 8;

/** The load of a run; `scale` makes it smaller. */
export function loadOf(subject: Subject, contender: Contender, scale: number): Load {
  const count = Math.max(1, Math.round(contender.count * scale));
  const warm = contender.warm === undefined
    ? Math.max(1, Math.round(count * WARM_PART))
    : Math.min(contender.warm, count);
  return { size: subject.size, warm, count };
}

/** Gigabytes of payload a second. */
export function gigabytesPerSecond({ seconds }: Outcome, { size, count }: Load): number {
  return size * count / seconds / 1e9;
}

/** Thousands of items a second. */
export function thousandsPerSecond({ seconds }: Outcome, { count }: Load): number {
  return count / seconds / 1e3;
}

/** Microseconds an item. */
export function microseconds({ seconds }: Outcome, { count }: Load): number {
  return 1e6 * seconds / count;
}

/** Milliseconds an item. */
export function milliseconds({ seconds }: Outcome, { count }: Load): number {
  return 1e3 * seconds / count;
}
