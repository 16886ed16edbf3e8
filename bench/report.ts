/** The report: a row for each line, with its figures, as Markdown and as JSON. */

import type { SubjectFigures } from "./measure.ts";
import type { Line, Subject } from "./subject.ts";
import type { Environment } from "./tools.ts";
import { rowOf, type Spread, spreadOf, type Verdict } from "./verdict.ts";

/** All figures of a benchmark, with the options of the run. */
export interface Results {
  environment: Environment;
  /** The share of a full load. */
  scale: number;
  rounds: number;
  subjects: readonly Subject[];
  figures: Map<string, SubjectFigures>;
  lines: Verdict[];
  /** The date of the report that it is compared with. */
  lastDate?: string;
}

/** The report as JSON. */
export type Report = Omit<Results, "subjects" | "figures"> & {
  subjects: Pick<Subject, "name" | "title" | "unit" | "better" | "size">[];
};

/** Returns the report as Markdown. */
export function markdownOf(results: Results): string {
  const { subjects, figures, lines } = results;
  const subjectOf = (line: Verdict) => subjects.find(({ name }) => name === line.subject);
  const title = (line: Verdict) => subjectOf(line)?.title ?? line.subject;
  const figure = (line: Verdict, name: string | undefined) => {
    const values = figures.get(line.subject)?.get(name!)?.values ?? [];
    if (values.length === 0) return name ?? "";
    return `${name} ${number(spreadOf(values).median)} ${subjectOf(line)?.unit}`;
  };
  const missed = lines.filter(({ reached }) => reached === false).map((line) =>
    `- **${title(line)}**, ${line.ours}: ${ratioOf(line)} instead of ${goalOf(line)}. ` +
    (line.missed ?? "It was not missed before.")
  );
  const lost = lines.filter(({ lost }) => lost !== undefined).map((line) =>
    `- **${rowOf(line)}**: ${line.lost}. It was ${number(line.last?.median ?? NaN)}.`
  );
  return [
    "# The benchmark's results",
    head(results),
    "Figures and ratios are medians of the rounds, with the middle half of the ratios in brackets. `×` " +
    "is the speed as a multiple of the baseline's, `× cost` the time or memory as a multiple of " +
    "the baseline's. A row without a baseline has its own figure.",
    table(
      ["subject", "ours", "baseline", "ratio", "must reach", "", "last", "since then"],
      lines.map((line) => [
        title(line),
        figure(line, line.ours),
        figure(line, line.baseline),
        line.ratio === undefined
          ? `skipped: ${line.missing}`
          : `**${ratioOf(line)}** (${spread(line.ratio)})`,
        goalOf(line),
        line.reached === undefined ? "" : line.reached ? "reached" : "missed",
        line.last === undefined ? "" : number(line.last.median),
        line.lost === undefined ? "" : `lost: ${line.lost}`,
      ]),
    ),
    ...(missed.length === 0 ? [] : ["## Missed", missed.join("\n")]),
    ...(lost.length === 0 ? [] : ["## Lost since the last report", lost.join("\n")]),
  ].join("\n\n") + "\n";
}

function head({ environment, scale, rounds, lastDate }: Results): string {
  const { date, system, processor, cores, memory, load, versions, uds } = environment;
  const tools = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const loads = scale === 1 ? "full loads" : `loads of ${scale} of the full ones`;
  const last = lastDate === undefined ? "" : ` The last report is of ${lastDate}.`;
  return `uds ${uds}, ${date}. ${system}; ${processor}, ${cores} cores, ${memory}; load at the \
beginning ${load.toFixed(2)}.
${tools}.
${rounds} rounds, all interleaved; ${loads}.${last} [What is measured](../README.md).`;
}

/** Returns the ratio of a line with its unit. */
export function ratioOf({ ratio, atMost, baseline }: Verdict): string {
  const unit = baseline === undefined ? "" : atMost === undefined ? " ×" : " × cost";
  return number(ratio?.median ?? NaN) + unit;
}

/** Returns the goal of a line in words. */
export function goalOf({ atLeast, atMost, baseline }: Line): string {
  const unit = baseline === undefined ? "" : " ×";
  if (atLeast !== undefined) return `≥ ${atLeast}${unit}`;
  return atMost === undefined ? "" : `≤ ${atMost}${unit && " × cost"}`;
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}

function spread({ low, high }: Spread): string {
  return `${number(low)}–${number(high)}`;
}

/** Formats three significant digits, or a whole number if it is large. */
export function number(value: number): string {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return value === 0 ? "0" : value.toPrecision(value < 0.01 ? 2 : 3);
}

/** Returns the report as JSON, with the figure of each round. */
export function jsonOf({ subjects, figures, ...results }: Results): string {
  const each = subjects.map(({ name, title, unit, better, size }) => ({
    ...{ name, title, unit, better, size },
    contenders: Object.fromEntries(figures.get(name) as SubjectFigures),
  }));
  return JSON.stringify({ ...results, subjects: each }, null, 2) + "\n";
}
