/** The report as Markdown: the ratios, then the figures, then the curves as tables. */

import type { Environment } from "./environment.ts";
import type { Figures, SubjectFigures } from "./measure.ts";
import { type Spread, spreadOf } from "./statistics.ts";
import type { Line, Subject } from "./subject.ts";
import { type Verdict, verdictOf } from "./verdict.ts";

/** All figures of a benchmark, with the options of the run. */
export interface Results {
  environment: Environment;
  /** The share of a full load. */
  scale: number;
  rounds: number;
  pointRounds: number;
  subjects: readonly Subject[];
  figures: Map<string, SubjectFigures>;
}

/** Returns all lines with their verdicts. */
export function verdictsOf({ subjects, figures }: Results): [Subject, Verdict][] {
  return subjects.flatMap((subject) =>
    subject.lines.map((line): [Subject, Verdict] => [
      subject,
      verdictOf(subject, figures.get(subject.name) as SubjectFigures, line),
    ])
  );
}

/** Returns the report as Markdown. */
export function markdownOf(results: Results): string {
  const compared = results.subjects.filter(({ point }) => point === undefined);
  const curves = Map.groupBy(
    results.subjects.filter(({ point }) => point !== undefined),
    ({ point }) => point?.curve as string,
  );
  const verdicts = verdictsOf(results);
  return [
    "# The benchmark's results",
    head(results),
    "## Ratios",
    "The median of the ratios of the rounds, with their middle half in brackets. `×` is the speed as a " +
    "multiple of the baseline's, `× cost` the time or memory as a multiple of the baseline's.",
    ratios(verdicts),
    ...missed(verdicts),
    "## Figures",
    "Medians, with the middle half of the rounds.",
    ...compared.map((subject) => figuresOf(subject, results)),
    ...(curves.size === 0 ? [] : ["## How the cost grows", "![The curves](plot.svg)"]),
    ...[...curves].map(([name, points]) => curveOf(name, points, results)),
  ].join("\n\n") + "\n";
}

function head({ environment, scale, rounds, pointRounds }: Results): string {
  const { date, system, processor, cores, memory, load, versions, uds } = environment;
  const tools = Object.entries(versions).map(([name, version]) => `${name} ${version}`);
  return [
    `uds ${uds}, ${date}. ${system}; ${processor}, ${cores} cores, ${memory}; load at the beginning ${
      load.toFixed(2)
    }.`,
    `${tools.join(", ")}.`,
    `${rounds} rounds, ${pointRounds} of the curves, all interleaved; ${
      scale === 1 ? "full loads" : `loads of ${scale} of the full ones`
    }. [What is measured](../README.md).`,
  ].join("\n");
}

function ratios(verdicts: [Subject, Verdict][]): string {
  const rows = verdicts.map(([subject, { line, ratio, missing, reached }]) => {
    const unit = line.atMost === undefined ? "×" : "× cost";
    const result = ratio === undefined
      ? `skipped: ${missing}`
      : `**${number(ratio.median)} ${unit}**`;
    const mark = reached === undefined ? "" : reached ? "reached" : "missed";
    return [
      subject.title,
      line.ours,
      line.baseline,
      ratio === undefined ? result : `${result} (${spread(ratio)})`,
      goalOf(line),
      mark,
    ];
  });
  return table(["subject", "ours", "baseline", "ratio", "must reach", ""], rows);
}

/** Returns the goal of a line in words. */
export function goalOf({ atLeast, atMost }: Line): string {
  if (atLeast !== undefined) return `≥ ${atLeast} ×`;
  return atMost === undefined ? "" : `≤ ${atMost} × cost`;
}

/** Returns the reasons for the missed lines. */
function missed(verdicts: [Subject, Verdict][]): string[] {
  const lines = verdicts.filter(([, { reached }]) => reached === false);
  if (lines.length === 0) return [];
  return [
    "### Missed",
    lines.map(([subject, { line, ratio }]) =>
      `- **${subject.title}**, ${line.ours} to ${line.baseline}: ${
        number(ratio?.median ?? NaN)
      } instead of ${goalOf(line)}. ${line.missed ?? "It was not missed before."}`
    ).join("\n"),
  ];
}

function figuresOf(subject: Subject, { figures }: Results): string {
  const rows = subject.contenders.map(({ name }) => {
    const { values, missing, failed } = figures.get(subject.name)?.get(name) as Figures;
    if (missing !== undefined) return [name, `skipped: ${missing}`, ""];
    if (failed !== undefined) return [name, `failed: ${failed}`, ""];
    const summary = spreadOf(values);
    return [name, `**${number(summary.median)}**`, spread(summary)];
  });
  const heading = `### ${subject.title}`;
  return `${heading}\n\n${
    table(["", `${subject.unit}, ${subject.better} is better`, "middle half"], rows)
  }`;
}

function curveOf(name: string, points: Subject[], { figures }: Results): string {
  const names = points[0]?.contenders.map((contender) => contender.name) ?? [];
  const { point, unit, better } = points[0] as Subject;
  const rows = points.map((subject) => [
    String(subject.point?.x),
    ...names.map((contender) => {
      const found = figures.get(subject.name)?.get(contender) as Figures;
      if (found.missing !== undefined) return `skipped: ${found.missing}`;
      return found.failed ?? number(spreadOf(found.values).median);
    }),
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
  return value.toPrecision(value < 0.01 ? 2 : 3);
}

/** Returns the report as JSON, with the figure of each round. */
export function jsonOf(results: Results): string {
  const { environment, scale, rounds, pointRounds, subjects, figures } = results;
  return JSON.stringify(
    {
      environment,
      scale,
      rounds,
      pointRounds,
      lines: verdictsOf(results).map(([subject, { line, ...verdict }]) => ({
        subject: subject.name,
        ...line,
        ...verdict,
      })),
      subjects: subjects.map(({ name, title, unit, better, size, point }) => ({
        name,
        title,
        unit,
        better,
        size,
        ...(point && { point }),
        contenders: Object.fromEntries(figures.get(name) as SubjectFigures),
      })),
    },
    null,
    2,
  ) + "\n";
}
