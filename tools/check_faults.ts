/**
 * Checks that `docs/faults.md` and the tests of `tests/faults` say the same: each test is in one row of its
 * tables, and each row has a test. `…` in a row stands for what tests of a series differ in.
 *
 * The names are those that the tests give to `Deno.test`: their files are imported, and nothing is run.
 */

import { fromFileUrl } from "@std/path/posix";

const PAGE = "docs/faults.md";
const DIRECTORY = "tests/faults";

/** The names of all tests below the directory. */
async function testNames(): Promise<string[]> {
  const names: string[] = [];
  const record = ({ name }: { name: string }) => names.push(name.replace(WHY_SKIPPED, ""));
  Object.assign(Deno, { test: Object.assign(record, { ignore: record }) });
  for (const { name } of Deno.readDirSync(DIRECTORY)) {
    if (name.endsWith("_test.ts")) {
      await import(new URL(`../${DIRECTORY}/${name}`, import.meta.url).href);
    }
  }
  return names;
}

/** What the helper appends where a test is skipped. */
const WHY_SKIPPED = / \((?:[\w-]+ is missing|it needs root|, )+\)$/;

/** The last column of each row: the name of a test, or of a series. */
function rows(): string[] {
  const page = Deno.readTextFileSync(fromFileUrl(new URL(`../${PAGE}`, import.meta.url)));
  return page.split("\n").filter((line) => /^\| (?!fault|-)/.test(line))
    .map((line) => line.replace(/ *\|$/, "").split(" | ").at(-1)!.trim().replace(/^`+|`+$/g, ""));
}

function fits(row: string, name: string): boolean {
  const parts = row.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`).test(name);
}

const names = await testNames();
const all = rows();
const problems = [
  ...names.map((name) => [name, all.filter((row) => fits(row, name)).length] as const)
    .filter(([, count]) => count !== 1)
    .map(([name, count]) => `${PAGE} has ${count} rows for the test: ${name}`),
  ...all.filter((row) => !names.some((name) => fits(row, name)))
    .map((row) => `${PAGE} has a row without a test: ${row}`),
];
for (const problem of problems) console.error(problem);
if (problems.length > 0) Deno.exit(1);
console.log(`${names.length} tests in ${all.length} rows of ${PAGE}`);
