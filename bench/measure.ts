/**
 * The rounds. In each round every contender of every subject runs once, so other work of the
 * machine affects all alike. A ratio is taken within a round, between neighbors in time.
 */

import { run } from "./run.ts";
import type { Subject } from "./subject.ts";
import type { Toolbox } from "./toolbox.ts";

/** The figures of a contender, one per round, or the reason why it has none. */
export interface Figures {
  /** The figure of each round, in order. */
  values: number[];
  /** What is missing on this machine, or how it failed. */
  missing?: string;
  failed?: string;
}

/** The figures of a subject, by the name of the contender. */
export type SubjectFigures = Map<string, Figures>;

/** How many rounds to run, and how large. */
export interface MeasureOptions {
  rounds: number;
  /** The number of rounds for the points of curves. */
  pointRounds: number;
  /** The share of a full load. */
  scale: number;
  /** Called after each run. */
  onProgress: (done: number, total: number, what: string) => void;
}

/** Runs all rounds. Returns the figures by the name of the subject. */
export async function measure(
  tools: Toolbox,
  subjects: readonly Subject[],
  { rounds, pointRounds, scale, onProgress }: MeasureOptions,
): Promise<Map<string, SubjectFigures>> {
  const all = new Map<string, SubjectFigures>();
  const roundsOf = (subject: Subject) => subject.point === undefined ? rounds : pointRounds;
  let total = 0;
  for (const subject of subjects) {
    const figures: SubjectFigures = new Map();
    for (const contender of subject.contenders) {
      const missing = tools.missing(contender);
      figures.set(contender.name, { values: [], ...(missing !== undefined && { missing }) });
      if (missing === undefined) total += roundsOf(subject);
    }
    all.set(subject.name, figures);
  }
  let done = 0;
  for (let round = 0; round < Math.max(rounds, pointRounds); round++) {
    for (const subject of subjects.filter((subject) => round < roundsOf(subject))) {
      // Another contender goes first each time, so none always has the warmer machine.
      const { contenders } = subject;
      const first = round % contenders.length;
      for (const contender of [...contenders.slice(first), ...contenders.slice(0, first)]) {
        const figures = all.get(subject.name)?.get(contender.name) as Figures;
        if (figures.missing !== undefined) continue;
        let shown;
        if (figures.failed === undefined) {
          try {
            const value = await run(tools, subject, contender, scale);
            figures.values.push(value);
            shown = `${value.toPrecision(3)} ${subject.unit}`;
          } catch (error) {
            figures.failed = (error as Error).message;
          }
        }
        const result = shown ?? `FAILED: ${figures.failed}`;
        onProgress(++done, total, `${subject.name}: ${contender.name} ${result}`);
      }
    }
  }
  return all;
}
