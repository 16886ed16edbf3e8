/** The verdict on a line: the ratio of two contenders, round by round, beside the last report's. */

import type { Figures, SubjectFigures } from "./measure.ts";
import type { Line, Subject } from "./subject.ts";

/** How far a ratio may be from its line before `--check` fails, as a share of the line. */
const TOLERANCE = 0.2;

/** The median and the middle half of some figures, and their number. */
export interface Spread {
  median: number;
  /** A quarter of the figures are below this. */
  low: number;
  /** A quarter of the figures are above this. */
  high: number;
  count: number;
}

/** A line with its measured ratio. */
export interface Verdict extends Line {
  /** The name of the subject. */
  subject: string;
  /** The spread of the ratios over the rounds: speed, or cost if the line has `atMost`. */
  ratio?: Spread;
  /** Why there is no ratio. */
  missing?: string;
  reached?: boolean;
  /** Whether it is missed by more than the tolerance. */
  farOff?: boolean;
  /** The ratio of the last report. */
  last?: Spread;
  /** What got worse since then: see {@linkcode compare}. */
  lost?: "missed" | "worse" | "not measured";
}

/** Returns the spread of at least one figure. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const at = (part: number): number => {
    const place = part * (sorted.length - 1);
    const low = sorted[Math.floor(place)] as number;
    const high = sorted[Math.ceil(place)] as number;
    return low + (high - low) * (place - Math.floor(place));
  };
  return { median: at(0.5), low: at(0.25), high: at(0.75), count: sorted.length };
}

/** Returns whether a ratio reaches the goal of a line, with some tolerance, or `undefined`. */
function reaches({ atLeast, atMost }: Line, { median }: Spread, tolerance = 0) {
  if (atLeast !== undefined) return median >= atLeast * (1 - tolerance);
  return atMost === undefined ? undefined : median <= atMost / (1 - tolerance);
}

/** Returns the verdict on a line of a subject. */
export function verdictOf(subject: Subject, figures: SubjectFigures, line: Line): Verdict {
  const verdict: Verdict = { subject: subject.name, ...line };
  const [ours, baseline] = [line.ours, line.baseline].map((name) => {
    const found = figures.get(name!);
    if (found !== undefined || name === undefined) return found;
    throw new Error(`${subject.name}: no contender is called ${name}`);
  }) as [Figures, Figures | undefined];
  const why = [ours, baseline].map((each) =>
    each?.missing ?? (each?.failed && `failed: ${each.failed}`)
  );
  const missing = why.find((each) => each !== undefined);
  if (missing !== undefined) return { ...verdict, missing };
  // A ratio of costs is the inverse of a ratio of speeds.
  const upright = (line.atMost !== undefined) === (subject.better === "less");
  const ratio = spreadOf(ours.values.map((value, i) => {
    const ratio = value / (baseline?.values[i] ?? 1);
    return upright || baseline === undefined ? ratio : 1 / ratio;
  }));
  const reached = reaches(line, ratio);
  if (reached === undefined) return { ...verdict, ratio };
  return { ...verdict, ratio, reached, farOff: !reaches(line, ratio, TOLERANCE) };
}

/** The name of a row. */
export function rowOf({ subject, ours, baseline }: Verdict): string {
  return `${subject}: ${ours}${baseline === undefined ? "" : ` / ${baseline}`}`;
}

/**
 * Returns the verdicts with the ratios of the last report. A row is lost if it reached its goal,
 * which is the goal of today, and misses it or is not measured now. It is worse if both middle
 * halves are apart. A row that no longer exists is added if it had reached its goal.
 *
 * @param whole Whether all subjects were measured.
 */
export function compare(now: Verdict[], last: readonly Verdict[], whole: boolean): Verdict[] {
  const before = new Map(last.map((verdict) => [rowOf(verdict), verdict]));
  const compared = now.map((verdict) => {
    const old = before.get(rowOf(verdict));
    before.delete(rowOf(verdict));
    if (old?.ratio === undefined) return verdict;
    const [was, is] = [old.ratio, verdict.ratio];
    const wasReached = reaches(verdict, was);
    const isWorse = is !== undefined &&
      (verdict.atMost === undefined ? is.high < was.low : is.low > was.high);
    const lost = wasReached && is === undefined
      ? "not measured"
      : wasReached && verdict.reached === false
      ? "missed"
      : isWorse
      ? "worse"
      : undefined;
    return { ...verdict, last: was, ...(lost && { lost } as const) };
  });
  const gone = [...before.values()].filter(({ reached }) => whole && reached)
    .map(({ ratio, reached: _, farOff: __, ...line }): Verdict => ({
      ...line,
      ...(ratio && { last: ratio }),
      missing: "not a row any more",
      lost: "not measured",
    }));
  return [...compared, ...gone];
}
