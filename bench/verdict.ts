/** The verdict on a line: the ratio of two contenders, round by round. */

import type { Figures, SubjectFigures } from "./measure.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import type { Line, Subject } from "./subject.ts";

/** How far a ratio may be from its line before `--check` fails, as a share of the line. */
const TOLERANCE = 0.2;

/** A line with its measured ratio. */
export interface Verdict {
  line: Line;
  /** The spread of the ratios over the rounds: speed, or cost if the line has `atMost`. */
  ratio?: Spread;
  /** Why there is no ratio. */
  missing?: string;
  reached?: boolean;
  /** Whether it is missed by more than the tolerance. */
  farOff?: boolean;
}

/** Returns the verdict on a line of a subject. */
export function verdictOf(subject: Subject, figures: SubjectFigures, line: Line): Verdict {
  const [ours, baseline] = [line.ours, line.baseline].map((name) => {
    const found = figures.get(name);
    if (found === undefined) throw new Error(`${subject.name}: there is no contender ${name}`);
    return found;
  }) as [Figures, Figures];
  for (const { missing, failed } of [ours, baseline]) {
    const why = missing ?? (failed && "failed");
    if (why !== undefined) return { line, missing: why };
  }
  // A ratio of costs is the inverse of a ratio of speeds.
  const asCost = line.atMost !== undefined;
  const upright = asCost === (subject.better === "less");
  const ratio = spreadOf(ours.values.map((value, i) => {
    const ratio = value / (baseline.values[i] as number);
    return upright ? ratio : 1 / ratio;
  }));
  const { atLeast, atMost } = line;
  if (atLeast !== undefined) {
    const reached = ratio.median >= atLeast;
    return { line, ratio, reached, farOff: ratio.median < atLeast * (1 - TOLERANCE) };
  }
  if (atMost !== undefined) {
    const reached = ratio.median <= atMost;
    return { line, ratio, reached, farOff: ratio.median > atMost / (1 - TOLERANCE) };
  }
  return { line, ratio };
}
