/**
 * The gate, the same here and in CI: format, lint, types, docs, language, tests with coverage and
 * the examples of the docs, and a publish dry run. The tests run at the end, with nothing beside
 * them. All steps run, even after a failure. The last line has the counts of the tests.
 */

import { writeExamples } from "./examples.ts";
import { runTests, summary, testFiles, type TestResult } from "./test.ts";

const COVERAGE_DIRECTORY = ".coverage";
/** The minimum coverage, in percent of lines, of each public file and of the command line. */
const COVERAGE = 90;

const { exports } = JSON.parse(await Deno.readTextFile("deno.json")) as {
  exports: Record<string, string>;
};
const PUBLIC_FILES = Object.values(exports).map((file) => file.replace("./", ""));
/** The parts of public files. Their docs are public, too. */
const PARTS = ["framing", "rpc"].flatMap((directory) =>
  [...Deno.readDirSync(directory)].map(({ name }) => `${directory}/${name}`)
);
/** Pages with TypeScript, which runs like the examples of the doc comments. */
const PAGES = ["README.md", ...[...Deno.readDirSync("docs")].map(({ name }) => `docs/${name}`)]
  .filter((page) => page.endsWith(".md") && /^```ts$/m.test(Deno.readTextFileSync(page)));

interface Step {
  name: string;
  run: () => Promise<boolean>;
}

/** Runs a subcommand of Deno, and shows its output when it has ended. */
async function deno(args: string[]): Promise<boolean> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    stdin: "null",
    env: { NO_COLOR: "1" },
  }).output();
  await Deno.stdout.write(stdout);
  await Deno.stderr.write(stderr);
  return success;
}

/** Runs all commands, even after one has failed. Returns whether all succeeded. */
async function all(commands: string[][]): Promise<boolean> {
  let ok = true;
  for (const command of commands) ok = await deno(command) && ok;
  return ok;
}

let tests: TestResult = {
  ok: false,
  counts: { passed: 0, failed: 0, ignored: 0 },
  failed: [],
};

async function test(): Promise<boolean> {
  // A directory for temporary files. The gate reports what tests leave there. The short examples of
  // the docs may leave files, which are removed.
  const temporary = await Deno.makeTempDir();
  await Deno.chmod(temporary, 0o755);
  await Deno.remove(COVERAGE_DIRECTORY, { recursive: true }).catch(() => {});
  const examples = `${temporary}/examples`;
  await Deno.mkdir(examples);
  const documented = [...PUBLIC_FILES, ...PARTS, ...PAGES];
  tests = await runTests({
    files: [...testFiles(), ...writeExamples(documented, examples)],
    args: [`--coverage=${COVERAGE_DIRECTORY}`, "--coverage-raw-data-only"],
    env: { TMPDIR: temporary },
  });
  const left = [...Deno.readDirSync(temporary)].map((e) => e.name).filter((n) =>
    /^uds-(?!\d+$)/.test(n)
  );
  await Deno.remove(temporary, { recursive: true });
  if (left.length > 0) console.error(`The tests left behind: ${left.join(", ")}`);
  return tests.ok && left.length === 0;
}

/** Reports whether a file of coverage ends as it should: only its last brace is not indented. */
function isWhole(file: string): boolean {
  using open = Deno.openSync(file);
  const end = new Uint8Array(2);
  if (open.statSync().size < end.length) return false;
  open.seekSync(-end.length, Deno.SeekMode.End);
  open.readSync(end);
  return new TextDecoder().decode(end) === "\n}";
}

/** Prints the share of covered lines, and checks it for public files and the command line. */
async function coverage(): Promise<boolean> {
  // A killed process may have written only a part of a file.
  for (const { name } of Deno.readDirSync(COVERAGE_DIRECTORY)) {
    const file = `${COVERAGE_DIRECTORY}/${name}`;
    if (!isWhole(file)) Deno.removeSync(file);
  }
  const { stdout, success } = await new Deno.Command(Deno.execPath(), {
    args: ["coverage", COVERAGE_DIRECTORY, "--lcov"],
    stderr: "inherit",
  }).output();
  if (!success) return false;
  let ok = true;
  const check = (name: string, hit: number, found: number, isBound: boolean) => {
    const percent = 100 * hit / found;
    const isLow = isBound && percent < COVERAGE;
    if (isLow) ok = false;
    console.log(
      `${percent.toFixed(1).padStart(6)} % ${name}${isLow ? `  below ${COVERAGE} %` : ""}`,
    );
  };
  // Counted as a whole, because code on a terminal or under another program is not covered.
  const commandLine = { hit: 0, found: 0 };
  for (const record of new TextDecoder().decode(stdout).split("end_of_record")) {
    const file = record.match(/^SF:(.*)$/m)?.[1]?.replace(`${Deno.cwd()}/`, "");
    const found = Number(record.match(/^LF:(\d+)$/m)?.[1] ?? 0);
    const hit = Number(record.match(/^LH:(\d+)$/m)?.[1] ?? 0);
    if (file === undefined || found === 0 || /^(tests|tools|examples|links|bench)\//.test(file)) {
      continue;
    }
    check(file, hit, found, [...PUBLIC_FILES, ...PARTS].includes(file));
    if (!file.startsWith("_cli/")) continue;
    commandLine.hit += hit;
    commandLine.found += found;
  }
  check("_cli/ as a whole", commandLine.hit, commandLine.found, true);
  return ok;
}

/** Checks of the text, one after the other. */
const CHECKS: Step[] = [
  { name: "format", run: () => deno(["fmt", "--check"]) },
  { name: "lint", run: () => deno(["lint"]) },
  {
    name: "docs",
    run: async () => {
      const checks = [
        ["doc", "--lint", ...PUBLIC_FILES],
        ["run", "-A", "tools/check_docs.ts", ...PUBLIC_FILES],
        ["run", "-A", "tools/faults_page.ts", "--check"],
        ["run", "-A", "tools/jsr_score.ts"],
        ["run", "-A", "tools/reference.ts", "--check"],
        ["run", "-A", "tools/benchmark_table.ts", "--check"],
        ["run", "-A", "tools/check_imports.ts"],
      ];
      return await all(checks);
    },
  },
  {
    name: "language",
    run: () =>
      all([
        ["run", "-A", "tools/check_language.ts"],
        ["run", "-A", "tools/check_comments.ts"],
      ]),
  },
  { name: "publish", run: () => deno(["run", "-A", "tools/publish.ts"]) },
];

/** The check of the types has one processor to itself for as long as all of the others take. */
const TYPES: Step[] = [
  { name: "types", run: () => deno(["check", "--quiet", "--doc", ".", ...PAGES]) },
];

const TESTS: Step[] = [
  { name: "tests", run: test },
  { name: "coverage", run: coverage },
];

const results: string[] = [];
let failed = false;

/** Runs steps one after the other. */
async function runSteps(steps: Step[]): Promise<void> {
  for (const { name, run } of steps) {
    console.log(`\n== ${name}`);
    const start = performance.now();
    const ok = await run();
    if (!ok) failed = true;
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    results.push(`${ok ? "ok    " : "FAILED"} ${name.padEnd(9)} ${seconds.padStart(6)} s`);
  }
}

await Promise.all([runSteps(TYPES), runSteps(CHECKS)]);
await runSteps(TESTS);
console.log(`\n${results.join("\n")}\n`);
console.log(summary(tests));
if (failed) Deno.exit(1);
