/**
 * The rounds. In each round every contender of every subject runs once, so other work of the
 * machine affects all alike. A ratio is taken within a round, between neighbors in time.
 */

import { run } from "./run.ts";
import { type Contender, loadOf, type Subject } from "./subject.ts";
import type { Tools } from "./tools.ts";

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
  /** The share of a full load. */
  scale: number;
  /** How long, in milliseconds, all rounds take at most. A further one begins only if it fits. */
  budgetMs?: number;
  /** How long, in milliseconds, a run may take, if not as its contender says. */
  limitMs?: number;
  /** Called after each run. */
  onProgress: (done: number, total: number, what: string) => void;
}

/** Runs all rounds. Returns the figures by the name of the subject. */
export async function measure(
  tools: Tools,
  subjects: readonly Subject[],
  options: MeasureOptions,
): Promise<Map<string, SubjectFigures>> {
  const { rounds, onProgress } = options;
  const all = new Map<string, SubjectFigures>();
  // Figures of the same runs are taken together.
  const groups = [...Map.groupBy(subjects, ({ name, of = name }) => of).values()].map((group) => {
    const contenders = new Map<string, Contender>();
    for (const { name, contenders: each } of group) {
      const figures: SubjectFigures = new Map();
      all.set(name, figures);
      for (const contender of each) {
        const missing = tools.missing(contender);
        figures.set(contender.name, { values: [], ...(missing !== undefined && { missing }) });
        if (missing === undefined) contenders.set(contender.name, contender);
      }
    }
    const most = Math.min(rounds, group[0]!.rounds ?? rounds);
    return { group, contenders: [...contenders.values()], rounds: most };
  });
  const total = groups.reduce((sum, { contenders, rounds }) => sum + contenders.length * rounds, 0);
  let done = 0;
  const begin = performance.now();
  let before = begin;
  for (let round = 0; round < rounds; round++) {
    const now = performance.now();
    if (round > 0 && now - begin + (now - before) > (options.budgetMs ?? Infinity)) break;
    before = now;
    for (const { group, contenders } of groups.filter(({ rounds }) => round < rounds)) {
      // Another contender goes first each time, so none always has the warmer machine.
      const first = round % (contenders.length || 1);
      for (const contender of [...contenders.slice(first), ...contenders.slice(0, first)]) {
        const shown = await runOnce(tools, group, contender, options, all);
        onProgress(++done, total, `${group[0]!.name}: ${contender.name} ${shown}`);
      }
    }
  }
  return all;
}

/** Runs a contender, and adds its figures to those of each subject. Returns what to show. */
async function runOnce(
  tools: Tools,
  group: readonly Subject[],
  contender: Contender,
  { scale, limitMs }: MeasureOptions,
  all: Map<string, SubjectFigures>,
): Promise<string> {
  const figures = group.flatMap((subject) => {
    const found = all.get(subject.name)?.get(contender.name);
    return found === undefined ? [] : [[subject, found] as const];
  });
  // What has failed once would fail, or take its whole time, in each round.
  let failed = figures[0]?.[1].failed;
  if (failed === undefined) {
    try {
      const outcome = await run(tools, group[0]!, contender, scale, limitMs);
      return figures.map(([subject, { values }]) => {
        const value = subject.value(outcome, loadOf(subject, contender, scale));
        values.push(value);
        return `${value.toPrecision(3)} ${subject.unit}`;
      }).join(", ");
    } catch (error) {
      failed = (error as Error).message;
      for (const [, figure] of figures) figure.failed = failed;
    }
  }
  return `FAILED: ${failed}`;
}
