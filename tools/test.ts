/**
 * Runs the tests: one process per file, as many at a time as there are cores, because most tests wait
 * rather than work, and some look at what a process has as a whole (descriptors, memory, umask).
 *
 * - `deno task test` runs those of `tests/` but not of `tests/faults/`, which take long.
 * - `deno task test tests/faults tests/pair/abort_test.ts …` runs those of a directory and of the
 *   directories in it, and those files. What begins with `-` goes to `deno test` (`--filter=…`).
 * - Tests that bound a time (`testAlone`) run at the end, one after another, when nothing else does.
 * - What a file has printed is shown when it has ended. The last line has the counts of all.
 */

export interface TestOptions {
  /** Files to test. */
  files: string[];
  /** Options of `deno test`. */
  args?: string[];
  env?: Record<string, string>;
}

/** How many tests there were. */
export interface TestCounts {
  passed: number;
  failed: number;
  ignored: number;
}

/** How the tests went. */
export interface TestResult {
  ok: boolean;
  counts: TestCounts;
  /** Files that failed, each followed by what failed in it. */
  failed: string[];
}

/** What takes longest begins first, so that it is not waited for alone at the end. */
const LONGEST = ["tests/server/lifecycle_test.ts", "tests/faults/crash_test.ts"];

/** What compares times has the machine for itself, at the end. */
const ALONE = ["tests/faults/limits_test.ts", "tests/faults/soak_test.ts"];

/** How many lines of a file's failures are shown again at the end. */
const MOST_LINES = 40;

/** What runs only where it is named, as the whole run would take too long with it. */
const SLOW = "tests/faults";

/** Programs of the tests. They contain no tests. */
const FIXTURES = "tests/fixtures";

/** The test files of a directory and of the directories in it, the largest first. */
export function testFiles(directory = "tests"): string[] {
  const files = filesBelow(directory, [SLOW, FIXTURES].filter((name) => name !== directory))
    .filter((file) => file.endsWith("_test.ts"));
  const size = (file: string) => LONGEST.includes(file) ? Infinity : Deno.statSync(file).size;
  return files.sort((a, b) => size(b) - size(a));
}

/** The files of a directory and of the directories in it, without some of these. */
function filesBelow(directory: string, without: string[]): string[] {
  return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) => {
    const path = `${directory}/${name}`;
    if (!isDirectory) return [path];
    return without.includes(path) ? [] : filesBelow(path, without);
  });
}

/** Checks the types of some files, all at once: that takes little longer than those of one. */
async function checkTypes(files: string[]): Promise<boolean> {
  const args = ["check", "--quiet", ...files];
  return (await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).spawn().status).success;
}

/** Runs the tests of some files, whose types have been checked, and prints what they say; tells whether all went well. */
export async function runTests(
  { files, args = [], env = {} }: TestOptions,
): Promise<TestResult> {
  const counts: TestCounts = { passed: 0, failed: 0, ignored: 0 };
  const failed: string[] = [];
  const worker = async (queue: string[], part: "together" | "alone") => {
    for (let file = queue.shift(); file !== undefined; file = queue.shift()) {
      const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["test", "-A", "--no-check", "--sanitize-ops", "--sanitize-resources", ...args, file],
        env: { ...env, UDS_TESTS: part },
        stdin: "null",
      }).output();
      await Deno.stderr.write(stderr);
      await Deno.stdout.write(stdout);
      const text = new TextDecoder().decode(stdout);
      // deno-lint-ignore no-control-regex -- colours
      const plain = text.replace(/\x1b\[[0-9;]*m/g, "");
      const summary = plain.match(/^(?:ok|FAILED) \| .*$/m)?.[0];
      for (const kind of ["passed", "failed", "ignored"] as const) {
        counts[kind] += Number(summary?.match(new RegExp(`(\\d+) ${kind}`))?.[1] ?? 0);
      }
      if (!success) failed.push(file, ...failures(plain));
    }
  };
  const queue = files.filter((file) => !ALONE.includes(file));
  const workers = Array.from(
    { length: navigator.hardwareConcurrency },
    () => worker(queue, "together"),
  );
  await Promise.all(workers);
  await worker(files.filter((file) => ALONE.includes(file)), "together");
  await worker(files.filter(hasTestsAlone), "alone");
  return { ok: failed.length === 0 && counts.passed > 0, counts, failed };
}

/** Whether a file has tests that run alone. */
function hasTestsAlone(file: string): boolean {
  return /_test\.ts$/.test(file) && /\btestAlone\(/.test(Deno.readTextFileSync(file));
}

/** The tests that failed and their errors, from what `deno test` prints between two of its headings. */
function failures(output: string): string[] {
  const [, errors = ""] = output.match(/^ ERRORS $([^]*?)^ FAILURES $/m) ?? [];
  return errors.split("\n").filter((line) => line !== "").slice(0, MOST_LINES).map((line) =>
    `  ${line}`
  );
}

/** What failed, once more where the end is read first, and the counts as the last line. */
export function summary({ counts: { passed, failed, ignored }, failed: what }: TestResult): string {
  const list = what.length > 0 ? `failed:\n${what.join("\n")}\n\n` : "";
  return `${list}${passed} passed, ${failed} failed, ${ignored} skipped`;
}

if (import.meta.main) {
  const given = Deno.args.filter((arg) => !arg.startsWith("-")).flatMap((name) =>
    name.endsWith(".ts") ? [name] : testFiles(name.replace(/\/+$/, ""))
  );
  const files = given.length > 0 ? given : testFiles();
  if (!await checkTypes(files)) Deno.exit(1);
  const result = await runTests({
    files,
    args: Deno.args.filter((arg) => arg.startsWith("-")),
  });
  console.log(`\n${summary(result)}`);
  if (!result.ok) Deno.exit(1);
}
