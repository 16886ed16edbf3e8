/**
 * Rehearses a release.
 *
 * - It publishes the package to a registry on this machine, and installs it in a separate project,
 *   with a new cache of Deno.
 * - There it checks the types of the examples, and runs each sample of the pages with the flags
 *   that its first line names.
 * - The tests of the examples, and of the commands of the pages, run with that project and with an
 *   installed command line.
 */

import { dirname, join } from "@std/path/posix";
import { COMMAND, samplesOf, withCacheVariables } from "./examples.ts";
import { publish } from "./publish.ts";
import { Registry } from "./registry.ts";
import { runTests, summary } from "./test.ts";

/** The tests that run examples and commands of pages. */
const TESTS = [
  "tests/project/examples_test.ts",
  "tests/project/examples_native_test.ts",
  "tests/project/examples_signals_test.ts",
  "tests/project/docs_test.ts",
  "tests/http/restart_test.ts",
];

/** How long, in milliseconds, a sample may take. */
const LIMIT_MS = 60_000;

/** Copies the examples and the stand-ins to a project, and returns the modules of the examples. */
async function copyExamples(project: string): Promise<string[]> {
  const { stdout } = await new Deno.Command("git", {
    args: ["ls-files", "examples", "links"],
  }).output();
  const files = new TextDecoder().decode(stdout).trim().split("\n");
  for (const file of files) {
    await Deno.mkdir(join(project, dirname(file)), { recursive: true });
    await Deno.copyFile(file, join(project, file));
  }
  return files.filter((file) => /^examples\/.*\.ts$/.test(file));
}

/** Writes what samples import beside the package. */
async function writeConfig(project: string): Promise<void> {
  const { imports } = JSON.parse(await Deno.readTextFile("deno.json")) as {
    imports: Record<string, string>;
  };
  const others = Object.entries(imports).filter(([name]) => !name.startsWith("@uds/"));
  await Deno.writeTextFile(
    `${project}/deno.json`,
    JSON.stringify({ imports: Object.fromEntries(others) }),
  );
}

/** Writes the samples of the pages to a project. Returns what runs each, with its name. */
async function writeSamples(project: string): Promise<Job[]> {
  const jobs: Job[] = [];
  const pages = ["README.md", ...[...Deno.readDirSync("docs")].map(({ name }) => `docs/${name}`)]
    .filter((page) => page.endsWith(".md"));
  for (const page of pages) {
    for (const { line, code } of samplesOf(page)) {
      const file = `${page.replaceAll("/", "_")}_${line}.ts`;
      const url = JSON.stringify(`file://${project}/${page}`);
      await Deno.writeTextFile(`${project}/${file}`, code.replaceAll("import.meta.url", url));
      const flags = withCacheVariables(code.match(COMMAND)?.[1] ?? "").split(" ")
        .filter((flag) => flag !== "");
      jobs.push([`${page}, line ${line}`, ["run", "--no-prompt", ...flags, file]]);
    }
  }
  return jobs;
}

/** What is run: its name, and the arguments of Deno. */
type Job = [name: string, args: string[]];

/** Runs Deno in a directory. Returns what it printed, or `undefined` if it succeeded. */
async function failureOf(
  args: string[],
  cwd: string,
  env: Record<string, string>,
): Promise<string | undefined> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd,
    env,
    stdin: "null",
    signal: AbortSignal.timeout(LIMIT_MS),
  }).output();
  if (success) return undefined;
  return [stderr, stdout].map((bytes) => new TextDecoder().decode(bytes)).join("").trim();
}

/** Runs jobs two at a time, and returns how many failed. */
async function runAll(jobs: Job[], cwd: string, env: Record<string, string>): Promise<number> {
  let failed = 0;
  const work = async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const [name, args] = job;
      const failure = await failureOf(args, cwd, env);
      if (failure === undefined) continue;
      failed++;
      console.error(`FAILED ${name}: deno ${args.join(" ")}\n${failure}\n`);
    }
  };
  await Promise.all([work(), work()]);
  return failed;
}

const directory = await Deno.makeTempDir({ prefix: "uds-" });
try {
  const project = `${directory}/project`;
  await Deno.mkdir(project);
  await Deno.mkdir(`${directory}/package`);
  await Deno.mkdir(`${directory}/temporary`);
  await using registry = new Registry(`${directory}/package`);
  const env = {
    DENO_DIR: `${directory}/cache`,
    DENO_NO_UPDATE_CHECK: "1",
    JSR_URL: registry.url,
    NO_COLOR: "1",
    UDS_PROJECT: project,
  };
  // The registry asks for a token, and takes any.
  const published = await publish(["--token", "any", "--no-provenance"], "inherit", env);
  if (!published.success) throw new Error("the package cannot be published");

  await writeConfig(project);
  const examples = await copyExamples(project);
  const samples = await writeSamples(project);
  const count = samples.length;
  // The samples leave what they make there.
  const sampleEnv = { ...env, TMPDIR: `${directory}/temporary` };
  const failed = await runAll([["the installation", ["add", "jsr:@uds/uds"]]], project, env) ||
    await runAll(
      [
        ["the types of the examples", ["check", "--quiet", ...examples]],
        ...samples,
      ],
      project,
      sampleEnv,
    );
  const tests = await runTests({ files: TESTS, env });
  console.log(`${registry.files} files, ${count} samples, ${failed} failed`);
  console.log(summary(tests));
  if (failed > 0 || !tests.ok) Deno.exitCode = 1;
} finally {
  await Deno.remove(directory, { recursive: true });
}
