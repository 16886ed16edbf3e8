/**
 * The benchmark.
 *
 * Usage: deno task bench [--quick] [--check] [--only=TEXT] [--rounds=N] [--out=DIRECTORY]
 *
 * README.md describes the method. Progress goes to standard error, the ratios to standard output,
 * and report.md and report.json to the directory. After a full run that is `results`, otherwise a
 * temporary directory.
 */

import { parseArgs } from "node:util";
import { fromFileUrl, join } from "@std/path/posix";
import { measure } from "./measure.ts";
import { goalOf, jsonOf, markdownOf, number, type Report, type Results } from "./report.ts";
import type { Subject } from "./subject.ts";
import { SUBJECTS } from "./subjects/all.ts";
import { Tools } from "./tools.ts";
import { compare, rowOf, verdictOf } from "./verdict.ts";

const USAGE = `deno task bench [--quick] [--check] [--only=TEXT] [--rounds=N] [--out=DIRECTORY]

  --quick          small loads, few rounds
  --check          exit with 1 if a ratio is more than 20 % below its line, or if a row got lost
                   since the last report
  --only=TEXT      only subjects with this text in their names, and rows with it in
                   "SUBJECT: OURS / BASELINE"; may be repeated
  --rounds=N       the number of rounds
  --out=DIRECTORY  the directory of the report`;

const FULL = { rounds: 5, scale: 1 };
const QUICK = { rounds: 3, scale: 1 / 8 };
const BUDGET_MS = 8 * 60_000;
const RESULTS = fromFileUrl(new URL("./results/", import.meta.url));

/** Returns the subjects with one of the texts in their name, and rows with it in theirs. */
function chosen(only: readonly string[]): Subject[] {
  const isChosen = (text: string) =>
    only.length === 0 || only.some((part) => text.toLowerCase().includes(part.toLowerCase()));
  const subjects = SUBJECTS.flatMap((subject) => {
    if (isChosen(subject.name)) return subject;
    const lines = subject.lines.filter((line) =>
      isChosen(rowOf({ subject: subject.name, ...line }))
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

async function main(): Promise<number> {
  const { values: { quick = false, check = false, only = [], ...given } } = parseArgs({
    args: Deno.args,
    options: {
      quick: { type: "boolean" },
      check: { type: "boolean" },
      only: { type: "string", multiple: true },
      rounds: { type: "string" },
      out: { type: "string" },
    },
  });
  const subjects = chosen(only);
  const { scale, ...defaults } = quick ? QUICK : FULL;
  const most = Number(given.rounds ?? defaults.rounds);
  if (!(most >= 1)) throw new TypeError(`--rounds must be a number, got "${given.rounds}"`);
  await using tools = await Tools.open();
  const environment = await tools.environment();
  const begin = performance.now();
  const seconds = () => Math.round((performance.now() - begin) / 1000);
  const figures = await measure(tools, subjects, {
    rounds: most,
    scale,
    budgetMs: BUDGET_MS,
    onProgress: (done, total, what) => console.error(`[${done}/${total}, ${seconds()} s] ${what}`),
  });

  const counts = figures.values().flatMap((each) =>
    each.values().map(({ values }) => values.length)
  );
  const rounds = Math.max(...counts);
  const whole = !quick && only.length === 0;
  const last: Report | undefined = await Deno.readTextFile(join(RESULTS, "report.json"))
    .then(JSON.parse, () => undefined);
  const verdicts = subjects.flatMap((subject) =>
    subject.lines.map((line) => verdictOf(subject, figures.get(subject.name)!, line))
  );
  const lines = compare(verdicts, last?.lines ?? [], whole);
  const results: Results = {
    ...{ environment, scale, rounds, subjects, figures, lines },
    ...(last && { lastDate: last.environment.date }),
  };
  const out = given.out ?? (whole ? RESULTS : await Deno.makeTempDir({ prefix: "uds-results-" }));
  await Deno.mkdir(out, { recursive: true });
  await Deno.writeTextFile(join(out, "report.md"), markdownOf(results));
  await Deno.writeTextFile(join(out, "report.json"), jsonOf(results));

  let bad = false;
  for (const line of lines) {
    const { ratio, missing, reached, farOff, last, lost } = line;
    if (check && (farOff || lost) || missing?.startsWith("failed")) bad = true;
    const mark = reached === undefined ? "" : reached ? "ok" : farOff ? "MISSED" : "missed";
    const value = ratio === undefined ? `skipped: ${missing}` : number(ratio.median);
    const before = last === undefined ? "" : `last ${number(last.median)}`;
    console.log(
      `${mark.padEnd(6)} ${rowOf(line).padEnd(64)} ${value.padStart(6)}  ${
        goalOf(line).padEnd(13)
      } ${before}${lost === undefined ? "" : ` LOST: ${lost}`}`.trimEnd(),
    );
  }
  console.log(`\n${seconds()} s. The report is ${join(out, "report.md")}`);
  return bad ? 1 : 0;
}

if (import.meta.main) {
  try {
    Deno.exitCode = await main();
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    console.error(`${error.message}\n\n${USAGE}`);
    Deno.exitCode = 2;
  }
}
