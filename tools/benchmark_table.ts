/**
 * The ratios of the benchmark in docs/performance.md, as a plot and as a table. They come from
 * bench/results/report.json.
 *
 * `deno run -A tools/benchmark_table.ts` writes the plot to bench/results/summary.svg, and the
 * table between the two markers. With `--check` it fails if either differs.
 */

import { number, ratioOf, type Report } from "../bench/report.ts";
import { SUBJECTS } from "../bench/subjects/all.ts";
import type { Verdict } from "../bench/verdict.ts";
import { summaryOf, type SummaryRow } from "./benchmark_plot.ts";
import { formatMarkdown } from "./markdown.ts";

const PAGE = "docs/performance.md";
const REPORT = "bench/results/report.json";
const PLOT = "bench/results/summary.svg";
const MARKED = /(<!-- benchmark: .*? -->\n).*?(<!-- \/benchmark -->)/s;

/** The lines of the report that answer a user's question, whether uds wins or not. */
const LINES: readonly (readonly [subject: string, ours: string, baseline: string])[] = [
  ["round trip", "uds Connection", "Deno raw loop"],
  ["round trip", "uds messages", "Deno raw loop"],
  ["bulk", "uds read/write", "Deno raw loop, plain"],
  ["bulk", "uds streams", "Deno streams"],
  ["echo", "uds pipeTo", "Deno pipeTo"],
  ["messages", "uds, one by one", "Deno raw"],
  ["messages", "uds, one by one", "Node node:net"],
  ["messages", "uds, in batches", "C, coalesced"],
  ["JSON lines", "uds, one by one", "Node readline"],
  ["connect", "uds connect/serve", "Deno raw"],
  ["idle", "uds serve", "Deno listen"],
  ["pair: round trip", "uds pair", "Deno.Command, pipes"],
  ["pair: bulk up", "uds pair", "Deno.Command, pipes"],
  ["pair: start", "uds pair", "Deno.Command, pipes"],
  ["calls", "uds rpc", "vscode-jsonrpc"],
  ["relay: round trip", "uds relay", "socat"],
  ["relay: bulk", "uds relay", "HAProxy"],
  ["http", "on a claimed path", "on a plain path"],
  ["workers", "2 workers", "1 worker"],
];

/**
 * Returns the lines of the page, each with the title of its subject. A report that is older than a
 * line does not have it.
 */
function linesOf({ lines, subjects }: Report): { title: string; line: Verdict }[] {
  return LINES.flatMap(([subject, ours, baseline]) => {
    const isIt = (line: { ours: string; baseline?: string }) =>
      line.ours === ours && line.baseline === baseline;
    if (!SUBJECTS.find(({ name }) => name === subject)?.lines.some(isIt)) {
      throw new Error(`the benchmark has no line "${subject}", "${ours}", "${baseline}"`);
    }
    const line = lines.find((line) => line.subject === subject && isIt(line));
    const title = subjects.find(({ name }) => name === subject)?.title ?? subject;
    return line === undefined ? [] : { title, line };
  });
}

/** Returns the text between the markers. */
function benchmarkText(report: Report): string {
  const { date, system, processor, cores, memory } = report.environment;
  const rows = linesOf(report).map(({ title, line }) =>
    `| ${title} | ${line.ours} | ${line.baseline} | ${ratio(line)} |`
  );
  return `
![How fast uds is, beside what you would otherwise use: the ratios of the table below](../${PLOT})

Measured on ${date}: ${system}, ${processor}, ${cores} cores, ${memory}. Each ratio is the median of
${report.rounds} rounds; the middle half of them is in brackets. **×** is how many times as fast as the
other one, **× cost** how many times its time or memory.

| what | uds | beside | ratio |
| --- | --- | --- | --- |
${rows.join("\n")}

[All figures](../bench/results/report.md), [how it was measured](../bench/README.md).

`;
}

function ratio(line: Verdict): string {
  if (line.ratio === undefined) return `not measured: ${line.missing}`;
  const { low, high } = line.ratio;
  return `**${ratioOf(line)}** (${number(low)}–${number(high)})`;
}

/** Returns the same lines as a plot. A cost is inverted, so that more is always better. */
function benchmarkPlot(report: Report): string {
  const { date, processor, cores, versions } = report.environment;
  const rows = linesOf(report).flatMap(({ title, line }): SummaryRow[] => {
    const { ours, baseline, ratio, atMost } = line;
    if (ratio === undefined) return [];
    const { median, low, high } = ratio;
    const detail = `${ours}, compared with ${baseline}`;
    return [
      atMost === undefined ? { title, detail, median, low, high, label: `${number(median)} ×` } : {
        title,
        detail,
        median: 1 / median,
        low: 1 / high,
        high: 1 / low,
        label: `${number(median)} × the cost`,
      },
    ];
  });
  return summaryOf(rows, `${date}, ${processor}, ${cores} cores, Deno ${versions["Deno"]}`);
}

const page = await Deno.readTextFile(PAGE);
if (!MARKED.test(page)) throw new Error(`${PAGE} has no markers for the benchmark`);
const report: Report = JSON.parse(await Deno.readTextFile(REPORT));
const table = benchmarkText(report);
const expected = {
  [PAGE]: await formatMarkdown(page.replace(MARKED, (_, begin, end) => begin + table + end)),
  [PLOT]: benchmarkPlot(report),
};
for (const [file, text] of Object.entries(expected)) {
  if (!Deno.args.includes("--check")) await Deno.writeTextFile(file, text);
  else if (text !== await Deno.readTextFile(file).catch(() => undefined)) {
    console.error(
      `${file} does not have the ratios of ${REPORT}: run deno run -A tools/benchmark_table.ts`,
    );
    Deno.exitCode = 1;
  }
}
