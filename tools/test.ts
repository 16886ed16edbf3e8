/**
 * Runs the tests in processes, one more at a time than there are cores, because most tests wait
 * rather than work.
 *
 * - Files share a process, because each start costs half a second. A file that looks at its whole
 *   process (descriptors, memory, umask) has its own, and so have the longest.
 * - If files fail together each runs again on its own, so that no failure hides those of another.
 * - `deno task test` runs those of `tests/` except `tests/faults/` and `tests/programs/`, which
 *   take long.
 * - `deno task test tests/faults tests/pair/abort_test.ts …` runs the tests of directories and of
 *   files. An argument that begins with `-` goes to `deno test` (`--filter=…`).
 * - Tests that bound a time (`testAlone…`) run at the end, one after another, with nothing beside
 *   them.
 * - A line for each file is shown when it has passed, with the tests that were skipped. If it
 *   fails, or is the only one, its output is shown. The last line has the counts of all.
 */

export interface TestOptions {
  /** The files to test. */
  files: string[];
  /** Options of `deno test`. */
  args?: string[];
  env?: Record<string, string>;
}

/** Which tests of a file run: those that run beside other files, or those that run alone. */
type Part = "together" | "alone";

/** The numbers of tests. */
export interface TestCounts {
  passed: number;
  failed: number;
  ignored: number;
}

/** The result of the tests. */
export interface TestResult {
  ok: boolean;
  counts: TestCounts;
  /** The files that failed, each followed by its failures. */
  failed: string[];
}

/** Files that take long, also small ones. They start first, so that nothing waits for them. */
const LONGEST = [
  "tests/server/lifecycle_test.ts",
  "tests/pair/many_test.ts",
  "tests/rpc/client_restart_test.ts",
  "tests/http/restart_test.ts",
  "tests/cli/install_test.ts",
  "tests/faults/crash_test.ts",
];

/** Files that compare times. They run alone at the end. */
const ALONE = ["tests/faults/limits_test.ts", "tests/faults/soak_test.ts"];

/**
 * What a test looks at or changes that belongs to its whole process. A file has a process of its
 * own if it contains such a word, or if a helper of its directory does.
 */
const OWN_PROCESS = new RegExp(
  [
    /\b(?:openDescriptors|assertNoneLeft|memoryUsage|unhandledrejection|globalThis|dlopen)\b/,
    /\bDeno\.(?:umask|chdir|exit|exitCode|addSignalListener|permissions|resources)\b/,
    /\bDeno\.env\.(?:set|delete)\b|\bpermissions: |\/(?:native|libc)\b|["'`]\/proc\/self\b/,
  ].map(({ source }) => source).join("|"),
);

/** The maximum number of files of a process. */
const MOST_FILES = 8;

/** The maximum number of lines of a file's failures that are repeated at the end. */
const MOST_LINES = 40;

/** The directories that run only if they are named. They would slow down every run. */
const SLOW = ["tests/faults", "tests/programs"];

/** Programs of the tests. They contain no tests. */
const FIXTURES = "tests/fixtures";

/** Returns the test files of a directory, the largest first. Directories within count. */
export function testFiles(directory = "tests"): string[] {
  const files = filesBelow(directory, [...SLOW, FIXTURES].filter((name) => name !== directory))
    .filter((file) => file.endsWith("_test.ts"));
  const size = (file: string) =>
    LONGEST.includes(file) ? Number.MAX_SAFE_INTEGER : Deno.statSync(file).size;
  return files.sort((a, b) => size(b) - size(a));
}

/** Returns the test files of a path that was given. Ends the process if nothing can be tested. */
function filesAt(name: string): string[] {
  const path = name.replace(/\/+$/, "");
  try {
    return Deno.statSync(path).isFile ? [path] : testFiles(path);
  } catch (error) {
    const isRefused = error instanceof Deno.errors.NotCapable;
    const state = isRefused ? "it is not below tests/" : "it does not exist";
    console.error(`Cannot test "${name}": ${state}. Pass some of tests/, such as tests/rpc`);
    Deno.exit(2);
  }
}

/** Returns all files below a directory, except those in some directories. */
function filesBelow(directory: string, without: string[]): string[] {
  return [...Deno.readDirSync(directory)].flatMap(({ name, isDirectory }) => {
    const path = `${directory}/${name}`;
    if (!isDirectory) return [path];
    return without.includes(path) ? [] : filesBelow(path, without);
  });
}

/** Checks the types of all files at once, which takes little longer than those of one. */
async function checkTypes(files: string[]): Promise<boolean> {
  const args = ["check", "--quiet", ...files];
  return (await new Deno.Command(Deno.execPath(), { args, stdin: "null" }).spawn().status).success;
}

/** Divides files into those of each process. Shared processes, which take longest, come first. */
export function processesOf(files: string[]): string[][] {
  const own = files.filter((file) => LONGEST.includes(file) || !sharesProcess(file));
  const sharing = files.filter((file) => !own.includes(file));
  const count = Math.ceil(sharing.length / MOST_FILES);
  const shared = Array.from({ length: count }, (_, i) => sharing.filter((_, k) => k % count === i));
  return [...shared, ...own.map((file) => [file])]
    .sort((a, b) => Number(LONGEST.includes(b[0]!)) - Number(LONGEST.includes(a[0]!)));
}

/** Reports whether a test file may share its process with others. */
function sharesProcess(file: string): boolean {
  if (!file.endsWith("_test.ts") || SLOW.some((slow) => file.startsWith(slow))) return false;
  const text = Deno.readTextFileSync(file);
  const directory = file.replace(/[^/]*$/, "");
  // The helpers of all tests, in the directory above, only do what they are called for.
  const helpers = [...text.matchAll(/^(?:import|}).* from "\.\/(_\w+\.ts)"/gm)].map(([, name]) =>
    Deno.readTextFileSync(directory + name)
  );
  return ![text, ...helpers].some((each) => OWN_PROCESS.test(each));
}

/** Runs the tests of some files with checked types, and prints their output. */
export async function runTests(
  { files, args = [], env = {} }: TestOptions,
): Promise<TestResult> {
  const counts: TestCounts = { passed: 0, failed: 0, ignored: 0 };
  const failed: string[] = [];
  /** Runs files in one process, and adds their counts. */
  const run = async ([file = "", ...others]: string[], part: Part): Promise<void> => {
    const preload = others.map((each) => `--preload=${each}`);
    const options = ["--no-check", "--sanitize-ops", "--sanitize-resources", ...args, ...preload];
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "-A", ...options, file],
      // Deno asks for a newer version of itself beside the program, and has sockets open meanwhile.
      env: { ...env, DENO_NO_UPDATE_CHECK: "1", UDS_TESTS: part },
      stdin: "null",
    }).output();
    const [error, output] = [stderr, stdout].map((bytes) => new TextDecoder().decode(bytes)) as [
      string,
      string,
    ];
    const plain = withoutColors(output);
    if (!success || files.length === 1) show(error + output);
    else show(passedLines([file, ...others], plain));
    if (!success) failed.push([file, ...others].join(" "), ...failures(plain));
    if (!success && others.length > 0) {
      for (const each of [file, ...others]) await run([each], part);
      return;
    }
    const summary = plain.match(/^(?:ok|FAILED) \| .*$/m)?.[0];
    for (const kind of ["passed", "failed", "ignored"] as const) {
      counts[kind] += Number(summary?.match(new RegExp(`(\\d+) ${kind}`))?.[1] ?? 0);
    }
  };
  const worker = async (queue: string[][], part: Part): Promise<void> => {
    for (let next = queue.shift(); next !== undefined; next = queue.shift()) await run(next, part);
  };
  const queue = processesOf(files.filter((file) => !ALONE.includes(file)));
  const workers = Array.from(
    { length: navigator.hardwareConcurrency + 1 },
    () => worker(queue, "together"),
  );
  await Promise.all(workers);
  await worker(files.filter((file) => ALONE.includes(file)).map((file) => [file]), "together");
  await worker(processesOf(files.filter(hasTestsAlone)), "alone");
  return { ok: failed.length === 0 && counts.passed > 0, counts, failed };
}

/** Prints text, without colors unless it is on a terminal. */
function show(text: string): void {
  const bytes = new TextEncoder().encode(Deno.stdout.isTerminal() ? text : withoutColors(text));
  for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
}

function withoutColors(text: string): string {
  // deno-lint-ignore no-control-regex -- colors
  return text.replace(/\x1b\[[0-9;]*m/g, "");
}

/** Returns a line for each of the files of a process, and for each test that was skipped. */
function passedLines([file, ...others]: string[], output: string): string {
  const [, passed, time] = output.match(/^ok \| (\d+ passed).* \(([^()]*)\)$/m) ?? [];
  const lines = others.map((each) => `   ${each}`);
  for (const [, name] of output.matchAll(/^(.*) \.\.\. ignored.*$/gm)) {
    lines.push(`   skipped: ${name}`);
  }
  return [`ok ${file} (${passed}, ${time})`, ...lines, ""].join("\n");
}

/** Reports whether a file has tests that run alone. The names of their functions begin alike. */
function hasTestsAlone(file: string): boolean {
  return /_test\.ts$/.test(file) && /\btestAlone\w*\(/.test(Deno.readTextFileSync(file));
}

/** Returns the failed tests and their errors, from the section ERRORS of `deno test`. */
function failures(output: string): string[] {
  const [, errors = ""] = output.match(/^ ERRORS $([^]*?)^ FAILURES $/m) ?? [];
  return errors.split("\n").filter((line) => line !== "").slice(0, MOST_LINES).map((line) =>
    `  ${line}`
  );
}

/** Returns the failures again, and the counts as the last line. */
export function summary({ counts: { passed, failed, ignored }, failed: what }: TestResult): string {
  const list = what.length > 0 ? `failed:\n${what.join("\n")}\n\n` : "";
  return `${list}${passed} passed, ${failed} failed, ${ignored} skipped`;
}

if (import.meta.main) {
  const given = Deno.args.filter((arg) => !arg.startsWith("-")).flatMap(filesAt);
  const files = given.length > 0 ? given : testFiles();
  if (!await checkTypes(files)) Deno.exit(1);
  const result = await runTests({
    files,
    args: Deno.args.filter((arg) => arg.startsWith("-")),
  });
  console.log(`\n${summary(result)}`);
  if (!result.ok) Deno.exit(1);
}
