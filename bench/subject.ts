/**
 * A subject of the benchmark: its contenders, and the lines that it must reach. A subject is data.
 * The programs that it names do the work.
 */

/** The load of a program: a warm-up pass, then the timed pass. */
export interface Load {
  /** Bytes of an item, such as a message, a chunk, or the traffic of a connection. */
  size: number;
  /** Items of the warm-up. */
  warm: number;
  /** Items of the timed pass. */
  count: number;
}

/** The figures of both ends of a run: the seconds of the timed pass, and others. */
export type Outcome = Record<string, number>;

/** One way to do the work. */
export interface Contender {
  name: string;
  /** A file of `programs/`, and the words that it gets. Its ending selects the interpreter. */
  program: string;
  /** The driving end, if it is another one. */
  client?: string;
  /** A program between both ends: a relay. */
  relay?: "uds" | "socat" | "HAProxy";
  /** Items of a full run. Rates are compared, so slow contenders send fewer items. */
  count: number;
  /** Items of the warm-up, if an eighth of `count` is not right. */
  warm?: number;
  /** Whether it is one program, which starts its other end itself if it has one. */
  alone?: boolean;
  /** The number of concurrent connections, if there are many. */
  connections?: number;
  /** How long, in milliseconds, a run may take, if it takes longer than others. */
  limitMs?: number;
}

/** A ratio between two contenders, and the value that it must reach. */
export interface Line {
  ours: string;
  /** The other contender. Without it the figure itself must reach the value. */
  baseline?: string;
  /** At least so many times the speed of the baseline … */
  atLeast?: number;
  /** … or at most so many times its cost. With neither the ratio is only reported. */
  atMost?: number;
  /** Why the line is missed, and what was tried. */
  missed?: string;
}

/** A figure, with the lines that it must reach. */
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
  /** The maximum number of rounds, if a run takes long. */
  rounds?: number;
  /** The subject with the same runs, if this is another figure of theirs. */
  of?: string;
}

/** Returns the load of a run; `scale` makes it smaller. */
export function loadOf(subject: Subject, contender: Contender, scale: number): Load {
  const count = Math.max(1, Math.round(contender.count * scale));
  const warm = Math.max(1, Math.min(contender.warm ?? Math.round(count / 8), count));
  return { size: subject.size, warm, count };
}

type Unit = Pick<Subject, "unit" | "better" | "value">;

const rate = (unit: string, factor: (load: Load) => number): Unit => ({
  unit,
  better: "more",
  value: ({ seconds }, load) => load.count * factor(load) / seconds!,
});

const cost = (unit: string, factor: number): Unit => ({
  unit,
  better: "less",
  value: ({ seconds }, { count }) => factor * seconds! / count,
});

/** Gigabytes of payload per second, items per second, and the time of an item. */
export const GIGABYTES: Unit = rate("GB/s", ({ size }) => size / 1e9);
export const THOUSANDS: Unit = rate("thousand/s", () => 1e-3);
export const RATE: Unit = rate("/s", () => 1);
export const MICROSECONDS: Unit = cost("µs", 1e6);
export const MILLISECONDS: Unit = cost("ms", 1e3);

/** A line for the speed, for the cost, and one without a goal. */
export const atLeast = (goal: number, ours: string, baseline?: string, missed?: string): Line =>
  lineOf({ atLeast: goal }, ours, baseline, missed);
export const atMost = (goal: number, ours: string, baseline?: string, missed?: string): Line =>
  lineOf({ atMost: goal }, ours, baseline, missed);
export const beside = (ours: string, baseline: string): Line => ({ ours, baseline });

function lineOf(goal: Partial<Line>, ours: string, baseline?: string, missed?: string): Line {
  return { ours, ...goal, ...(baseline && { baseline }), ...(missed && { missed }) };
}

/** Returns a contender. */
export function by(
  name: string,
  program: string,
  count: number,
  more: Partial<Contender> = {},
): Contender {
  return { name, program, count, ...more };
}
