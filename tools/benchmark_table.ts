/**
 * The benchmark's ratios in README.md, taken from bench/results/report.json.
 *
 * `deno run -A tools/benchmark_table.ts` writes them between the two markers; with `--check` it fails
 * where what stands there is something else.
 */

import { number } from "../bench/report.ts";

const README = "README.md";
const REPORT = "bench/results/report.json";
const MARKED = /(<!-- benchmark: .*? -->\n).*?(<!-- \/benchmark -->)/s;

/** The lines of the report that the front page has: those that answer a user's question, won or lost. */
const LINES: readonly (readonly [subject: string, ours: string, baseline: string])[] = [
  ["round trip", "uds Connection", "Deno raw loop"],
  ["round trip", "uds messages", "Deno raw loop"],
  ["bulk", "uds read/write", "Deno raw loop, plain"],
  ["bulk", "uds streams", "Deno streams"],
  ["bulk", "uds read/write", "C"],
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
];

interface Report {
  environment: { date: string; system: string; processor: string; cores: number; memory: string };
  rounds: number;
  lines: {
    subject: string;
    ours: string;
    baseline: string;
    atMost?: number;
    ratio?: { median: number; low: number; high: number };
    missing?: string;
  }[];
  subjects: { name: string; title: string }[];
}

/** What stands between the markers. */
function benchmarkText({ environment, rounds, lines, subjects }: Report): string {
  const { date, system, processor, cores, memory } = environment;
  const rows = LINES.map(([subject, ours, baseline]) => {
    const line = lines.find((line) =>
      line.subject === subject && line.ours === ours && line.baseline === baseline
    );
    if (line === undefined) {
      throw new Error(`${REPORT} has no line "${subject}", "${ours}", "${baseline}"`);
    }
    const title = subjects.find(({ name }) => name === subject)?.title ?? subject;
    return `| ${title} | ${ours} | ${baseline} | ${ratioOf(line)} |`;
  });
  return `
${date}, ${system}, ${processor}, ${cores} cores, ${memory}; the median of ${rounds} rounds, and in
brackets the middle half of them. **×** is how many times as fast as the other one, **× cost** how many
times its time or memory.

| what | uds | beside | ratio |
| --- | --- | --- | --- |
${rows.join("\n")}

[The plot](bench/results/plot.svg), [all figures](bench/results/report.md), and
[how they were measured](bench/README.md).

`;
}

function ratioOf({ ratio, atMost, missing }: Report["lines"][number]): string {
  if (ratio === undefined) return `not measured: ${missing}`;
  const unit = atMost === undefined ? "×" : "× cost";
  return `**${number(ratio.median)} ${unit}** (${number(ratio.low)}–${number(ratio.high)})`;
}

/** A Markdown text as `deno fmt` has it. */
async function formatted(text: string): Promise<string> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["fmt", "--ext=md", "-"],
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const output = child.output();
  await new Blob([text]).stream().pipeTo(child.stdin);
  const { success, stdout } = await output;
  if (!success) throw new Error(`deno fmt cannot format ${README}`);
  return new TextDecoder().decode(stdout);
}

const readme = await Deno.readTextFile(README);
if (!MARKED.test(readme)) throw new Error(`${README} has no markers for the benchmark`);
const report: Report = JSON.parse(await Deno.readTextFile(REPORT));
const text = benchmarkText(report);
const expected = await formatted(readme.replace(MARKED, (_, begin, end) => begin + text + end));
if (!Deno.args.includes("--check")) await Deno.writeTextFile(README, expected);
else if (expected !== readme) {
  console.error(
    `${README} does not have the ratios of ${REPORT}: run deno run -A tools/benchmark_table.ts`,
  );
  Deno.exit(1);
}
