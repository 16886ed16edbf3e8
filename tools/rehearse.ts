/**
 * Rehearses a release. The files that would be published are copied, and linked from a separate
 * project. There it runs each sample of the pages with the flags that its first line names,
 * checks the types of the examples, and starts the command line.
 */

import { dirname, join } from "@std/path/posix";
import { COMMAND, samplesOf } from "./examples.ts";
import { publishedFiles } from "./publish.ts";

/** A module of a sample that is written for a clone: it may import from the clone only. */
const SANDBOXED = "pool/primes.ts";

/** How long a sample may take. */
const LIMIT_MS = 60_000;

async function copy(files: string[], to: string): Promise<void> {
  for (const file of files) {
    await Deno.mkdir(join(to, dirname(file)), { recursive: true });
    await Deno.copyFile(file, join(to, file));
  }
}

/** Runs Deno in the project. Returns what it printed, or `undefined` if it succeeded. */
async function failureOf(project: string, args: string[]): Promise<string | undefined> {
  const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
    args,
    cwd: project,
    stdin: "null",
    env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" },
    signal: AbortSignal.timeout(LIMIT_MS),
  }).output();
  if (success) return undefined;
  return [stderr, stdout].map((bytes) => new TextDecoder().decode(bytes)).join("").trim();
}

const directory = await Deno.makeTempDir({ prefix: "uds-" });
try {
  const files = await publishedFiles();
  await copy(files, `${directory}/package`);
  const project = `${directory}/project`;
  const examples = new TextDecoder().decode(
    (await new Deno.Command("git", { args: ["ls-files", "examples"] }).output()).stdout,
  ).trim().split("\n");
  await copy(examples, project);
  const { imports } = JSON.parse(await Deno.readTextFile("deno.json")) as {
    imports: Record<string, string>;
  };
  const others = Object.entries(imports).filter(([name]) => !name.startsWith("@uds/")).map((
    [name, target],
  ) => [name, target.replace(/^\.\//, "../package/")]);
  await Deno.writeTextFile(
    `${project}/deno.json`,
    JSON.stringify({ links: ["../package"], imports: Object.fromEntries(others) }),
  );

  const jobs: [name: string, args: string[]][] = [
    ["the command line", ["run", "-RWN", "jsr:@uds/uds/cli", "--version"]],
    ["the types of the examples", ["check", "--quiet", ...examples.filter((f) => /\.ts$/.test(f))]],
  ];
  const pages = ["README.md", ...[...Deno.readDirSync("docs")].map(({ name }) => `docs/${name}`)]
    .filter((page) => page.endsWith(".md"));
  for (const page of pages) {
    for (const { line, code } of samplesOf(page)) {
      if (code.includes(SANDBOXED)) continue;
      const file = `${page.replaceAll("/", "_")}_${line}.ts`;
      const url = JSON.stringify(`file://${project}/${page}`);
      await Deno.writeTextFile(`${project}/${file}`, code.replaceAll("import.meta.url", url));
      const flags = code.match(COMMAND)?.[1]?.trim().split(" ").filter((flag) => flag !== "") ?? [];
      jobs.push([`${page}, line ${line}`, ["run", "--no-prompt", ...flags, file]]);
    }
  }
  const count = jobs.length;
  let failed = 0;
  const work = async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
      const [name, args] = job;
      const failure = await failureOf(project, args);
      if (failure === undefined) continue;
      failed++;
      console.error(`FAILED ${name}: deno ${args.join(" ")}\n${failure}\n`);
    }
  };
  await Promise.all([work(), work()]);
  console.log(`${files.length} files, ${count} commands from a project, ${failed} failed`);
  if (failed > 0) Deno.exitCode = 1;
} finally {
  await Deno.remove(directory, { recursive: true });
}
