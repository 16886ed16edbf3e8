/** The report: the ratios, then the figures, then the curves, as Markdown and as JSON. */

import type { Figures, SubjectFigures } from "./measure.ts";
import type { Line, Subject } from "./subject.ts";
import type { Environment } from "./tools.ts";
import { rowOf, type Spread, spreadOf, type Verdict } from "./verdict.ts";

/** All figures of a benchmark, with the options of the run. */
export interface Results {
  environment: Environment;
  /** The share of a full load. */
  scale: number;
  rounds: number;
  pointRounds: number;
  subjects: readonly Subject[];
  figures: Map<string, SubjectFigures>;
  lines: Verdict[];
  /** The date of the report that it is compared with. */
  lastDate?: string;
}

/** The report as JSON. */
export type Report = Omit<Results, "subjects" | "figures"> & {
  subjects: Pick<Subject, "name" | "title" | "unit" | "better" | "size" | "point">[];
};

/** Returns the report as Markdown. */
export function markdownOf(results: Results): string {
  const { subjects, lines } = results;
  const [compared, points] = [true, false].map((whole) =>
    subjects.filter(({ point }) => (point === undefined) === whole)
  ) as [Subject[], Subject[]];
  const curves = Map.groupBy(points, ({ point }) => point?.curve as string);
  const titles = new Map(subjects.map(({ name, title }) => [name, title]));
  const title = ({ subject }: Verdict) => titles.get(subject) ?? subject;
  const missed = lines.filter(({ reached }) => reached === false).map((line) =>
    `- **${title(line)}**, ${line.ours}: ${ratioOf(line.ratio!, line)} instead of ${
      goalOf(line)
    }. ` +
    (line.missed ?? "It was not missed before.")
  );
  const lost = lines.filter(({ lost }) => lost !== undefined).map((line) =>
    `- **${rowOf(line)}**: ${line.lost}. It was ${number(line.last?.median ?? NaN)}.`
  );
  return [
    "# The benchmark's results",
    head(results),
    "## Ratios",
    "The median of the ratios of the rounds, with their middle half in brackets. `×` is the speed as a " +
    "multiple of the baseline's, `× cost` the time or memory as a multiple of the baseline's. " +
    "A row without a baseline has its own figure.",
    table(
      ["subject", "ours", "baseline", "ratio", "must reach", "", "last", "since then"],
      lines.map((line) => [
        title(line),
        line.ours,
        line.baseline ?? "",
        line.ratio === undefined
          ? `skipped: ${line.missing}`
          : `**${ratioOf(line.ratio, line)}** (${spread(line.ratio)})`,
        goalOf(line),
        line.reached === undefined ? "" : line.reached ? "reached" : "missed",
        line.last === undefined ? "" : number(line.last.median),
        line.lost === undefined ? "" : `lost: ${line.lost}`,
      ]),
    ),
    ...(missed.length === 0 ? [] : ["### Missed", missed.join("\n")]),
    ...(lost.length === 0 ? [] : ["### Lost since the last report", lost.join("\n")]),
    "## Figures",
    "Medians, with the middle half of the rounds.",
    ...compared.map((subject) => figuresOf(subject, results)),
    ...(curves.size === 0 ? [] : ["## How the cost grows"]),
    ...[...curves].map(([name, points]) => curveOf(name, points, results)),
  ].join("\n\n") + "\n";
}

function head({ environment, scale, rounds, pointRounds, lastDate }: Results): string {
  const { date, system, processor, cores, memory, load, versions, uds } = environment;
  const tools = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  const loads = scale === 1 ? "full loads" : `loads of ${scale} of the full ones`;
  const last = lastDate === undefined ? "" : ` The last report is of ${lastDate}.`;
  return `uds ${uds}, ${date}. ${system}; ${processor}, ${cores} cores, ${memory}; load at the \
beginning ${load.toFixed(2)}.
${tools}.
${rounds} rounds, ${pointRounds} of the curves, all interleaved; ${loads}.${last}
[What is measured](../README.md).`;
}

/** Returns a ratio with its unit. */
export function ratioOf({ median }: Spread, { atMost, baseline }: Line): string {
  const unit = baseline === undefined ? "" : atMost === undefined ? " ×" : " × cost";
  return number(median) + unit;
}

/** Returns the goal of a line in words. */
export function goalOf({ atLeast, atMost, baseline }: Line): string {
  const unit = baseline === undefined ? "" : " ×";
  if (atLeast !== undefined) return `≥ ${atLeast}${unit}`;
  return atMost === undefined ? "" : `≤ ${atMost}${unit && " × cost"}`;
}

function figuresOf(subject: Subject, { figures }: Results): string {
  const rows = subject.contenders.map(({ name }) => [name, ...figureOf(subject, name, figures)]);
  const heading = `### ${subject.title}`;
  return `${heading}\n\n${
    table(["", `${subject.unit}, ${subject.better} is better`, "middle half"], rows)
  }`;
}

function figureOf(subject: Subject, name: string, all: Results["figures"]): [string, string] {
  const { values, missing, failed } = all.get(subject.name)?.get(name) as Figures;
  if (missing !== undefined) return [`skipped: ${missing}`, ""];
  if (failed !== undefined) return [`failed: ${failed}`, ""];
  const summary = spreadOf(values);
  return [`**${number(summary.median)}**`, spread(summary)];
}

function curveOf(name: string, points: Subject[], { figures }: Results): string {
  const { point, unit, better, contenders } = points[0] as Subject;
  const names = contenders.map((contender) => contender.name);
  const rows = points.map((subject) => [
    String(subject.point?.x),
    ...names.map((contender) => figureOf(subject, contender, figures)[0]),
  ]);
  return `### ${name}\n\n${unit}, ${better} is better.\n\n${
    table([point?.axis ?? "", ...names], rows)
  }`;
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
  const each = subjects.map(({ name, title, unit, better, size, point }) => ({
    ...{ name, title, unit, better, size, ...(point && { point }) },
    contenders: Object.fromEntries(figures.get(name) as SubjectFigures),
  }));
  return JSON.stringify({ ...results, subjects: each }, null, 2) + "\n";
}
