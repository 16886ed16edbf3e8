/**
 * The benchmark.
 *
 * Usage: deno task bench [--quick] [--check] [--only=TEXT] [--rounds=N] [--out=DIRECTORY]
 *
 * README.md describes the method. Progress goes to standard error, the ratios to standard output,
 * and report.md, report.json and plot.svg to the directory. After a full run that is `results`,
 * otherwise a temporary directory.
 */

import { fromFileUrl, join } from "@std/path/posix";
import { environmentOf } from "./environment.ts";
import { measure } from "./measure.ts";
import { svgOf } from "./plot.ts";
import { goalOf, jsonOf, markdownOf, number, type Results, verdictsOf } from "./report.ts";
import type { Subject } from "./subject.ts";
import { SUBJECTS } from "./subjects/all.ts";
import { Toolbox } from "./toolbox.ts";

const USAGE = `deno task bench [--quick] [--check] [--only=TEXT] [--rounds=N] [--out=DIRECTORY]

  --quick          small loads, few rounds: less than 90 seconds
  --check          exit with 1 if a ratio is more than 20 % below its line
  --only=TEXT      only subjects with this text in their names, and rows with it in
                   "SUBJECT: OURS / BASELINE"; may be repeated
  --rounds=N       the number of rounds
  --out=DIRECTORY  the directory of the report`;

const FULL = { rounds: 7, pointRounds: 3, scale: 1 };
const QUICK = { rounds: 3, pointRounds: 1, scale: 1 / 8 };
const RESULTS = fromFileUrl(new URL("./results/", import.meta.url));

interface Options {
  quick: boolean;
  check: boolean;
  only: string[];
  rounds?: number;
  out?: string;
}

function parse(args: readonly string[]): Options {
  const options: Options = { quick: false, check: false, only: [] };
  for (const arg of args) {
    const [name, value] = arg.split(/=(.*)/s, 2) as [string, string | undefined];
    if (arg === "--quick" || arg === "--check") options[arg.slice(2) as "quick" | "check"] = true;
    else if (name === "--only" && value) options.only.push(value);
    else if (name === "--rounds" && Number(value) >= 1) options.rounds = Math.floor(Number(value));
    else if (name === "--out" && value) options.out = value;
    else throw new TypeError(`unknown option ${arg}\n\n${USAGE}`);
  }
  return options;
}

/** Returns the subjects with one of the texts in their name, and the rows that have it in theirs. */
function chosen(only: readonly string[]): Subject[] {
  const chosen = (text: string) =>
    only.length === 0 || only.some((part) => text.toLowerCase().includes(part.toLowerCase()));
  const subjects = SUBJECTS.flatMap((subject) => {
    if (chosen(subject.name)) return subject;
    const lines = subject.lines.filter(({ ours, baseline }) =>
      chosen(`${subject.name}: ${ours} / ${baseline}`)
    );
    const names = new Set(lines.flatMap(({ ours, baseline }) => [ours, baseline]));
    const contenders = subject.contenders.filter(({ name }) => names.has(name));
    return lines.length === 0 ? [] : { ...subject, lines, contenders };
  });
  if (subjects.length > 0) return subjects;
  throw new TypeError(
    `unknown subject. The subjects are: ${SUBJECTS.map(({ name }) => name).join(", ")}`,
  );
}

/** Shows the progress: a line that changes on a terminal, otherwise a line per run. */
function progress(done: number, total: number, what: string, begin: number): void {
  const seconds = (performance.now() - begin) / 1000;
  const left = Math.round(seconds / done * (total - done));
  const line = `[${done}/${total}, ${Math.round(seconds)} s, about ${left} s left] ${what}`;
  const end = Deno.stderr.isTerminal() ? `\r\x1b[K${line.slice(0, 110)}` : `${line}\n`;
  Deno.stderr.writeSync(new TextEncoder().encode(end));
}

async function main(): Promise<number> {
  const { quick, check, only, ...given } = parse(Deno.args);
  const subjects = chosen(only);
  const defaults = quick ? QUICK : FULL;
  const rounds = given.rounds ?? defaults.rounds;
  const pointRounds = Math.min(rounds, defaults.pointRounds);
  const { scale } = defaults;
  await using tools = await Toolbox.open();
  const environment = await environmentOf(tools);
  const begin = performance.now();
  const figures = await measure(tools, subjects, {
    rounds,
    pointRounds,
    scale,
    onProgress: (done, total, what) => progress(done, total, what, begin),
  });
  if (Deno.stderr.isTerminal()) Deno.stderr.writeSync(new TextEncoder().encode("\r\x1b[K"));

  const results: Results = { environment, scale, rounds, pointRounds, subjects, figures };
  const whole = !quick && only.length === 0;
  const out = given.out ?? (whole ? RESULTS : await Deno.makeTempDir({ prefix: "uds-results-" }));
  await Deno.mkdir(out, { recursive: true });
  await Deno.writeTextFile(join(out, "report.md"), markdownOf(results));
  await Deno.writeTextFile(join(out, "report.json"), jsonOf(results));
  await Deno.writeTextFile(join(out, "plot.svg"), svgOf(results));

  let bad = false;
  for (const [subject, { line, ratio, missing, reached, farOff }] of verdictsOf(results)) {
    if (check && farOff || missing === "failed") bad = true;
    const mark = reached === undefined
      ? "      "
      : reached
      ? "ok    "
      : farOff
      ? "MISSED"
      : "missed";
    const value = ratio === undefined ? `skipped: ${missing}` : number(ratio.median);
    const names = `${subject.name}: ${line.ours} / ${line.baseline}`;
    console.log(`${mark} ${names.padEnd(64)} ${value.padStart(6)}  ${goalOf(line)}`);
  }
  for (const [name, contenders] of figures) {
    for (const [contender, { failed }] of contenders) {
      if (failed === undefined) continue;
      bad = true;
      console.log(`FAILED ${name}: ${contender}: ${failed}`);
    }
  }
  const seconds = Math.round((performance.now() - begin) / 1000);
  console.log(`\n${seconds} s. The report is ${join(out, "report.md")}`);
  return bad ? 1 : 0;
}

if (import.meta.main) {
  try {
    Deno.exitCode = await main();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(error.message);
    Deno.exitCode = 2;
  }
}
