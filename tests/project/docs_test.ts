import { assert, assertEquals } from "@std/assert";
import { basename, dirname, join } from "@std/path/posix";
import { withCacheVariables } from "../../tools/examples.ts";
import { Process } from "../_cli.ts";
import { decode, PROJECT, ROOT, TempDir, test } from "../_helpers.ts";

// Runs the shell blocks of README.md and docs/. The gate also runs their TypeScript. A block of
// `sh` has commands that must succeed. A block of `console` has commands after "$ ", and the output
// that they must print. If it uses a program of its page, it runs in the directory of that.

/** Other programs that the blocks run. */
const PEERS = [
  "curl",
  "python3",
  "socat",
  "ssh-agent",
  "ssh-add",
  "redis-server",
  "redis-cli",
  "systemd-socket-activate",
];

interface Block {
  page: string;
  line: number;
  kind: "sh" | "console";
  text: string;
}

function blocksOf(page: string): Block[] {
  const text = Deno.readTextFileSync(join(ROOT, page));
  return [...text.matchAll(/^```(sh|console)\n(.*?)^```$/gms)].map((match) => ({
    page,
    line: text.slice(0, match.index).split("\n").length,
    kind: match[1] as Block["kind"],
    text: match[2] ?? "",
  }));
}

/** Whether the package is the one of this clone, and not one that a project has installed. */
const IS_CLONE = PROJECT === ROOT;

/**
 * Writes the programs of a page, which are the blocks that begin with their name. Returns their
 * paths.
 */
function writePrograms(page: string, dir: TempDir, directory = dir.path): string[] {
  const text = Deno.readTextFileSync(join(ROOT, page));
  const programs = [...text.matchAll(/^```ts ignore\n\/\/ (\w+\.ts)\n(.*?)^```$/gms)];
  if (programs.length > 0) {
    const config = IS_CLONE
      ? JSON.stringify({ links: [ROOT] })
      : Deno.readTextFileSync(join(PROJECT, "deno.json"));
    Deno.writeTextFileSync(dir.file("deno.json"), config);
  }
  return programs.map(([, name = "", program = ""]) => {
    Deno.writeTextFileSync(join(directory, name), fromClone(text, runnable(program, dir)));
    return join(directory, name);
  });
}

/** Returns a program of a page, with the statement that the page has for programs from a clone. */
function fromClone(page: string, program: string): string {
  const [, section = ""] = page.match(/^## From a clone\n(.*?)(?=^## )/ms) ?? [];
  const [, statement = "", start] = section.match(/^```ts ignore\n(([\w ]+ = ).*?)\n```$/ms) ?? [];
  if (start === undefined || !IS_CLONE) return program;
  const lines = program.split("\n").map((line) => line.startsWith(start) ? statement : line);
  return lines.join("\n").replace("/path/of/the/clone", ROOT);
}

/** Returns a block that runs here: with this package, in a temporary directory, no gate. */
function runnable(text: string, dir: TempDir): string {
  const here = text.replaceAll("/tmp/", `${dir.path}/`)
    .replace(/\btask test$/gm, "task test tests/project/docs_test.ts --filter=steps");
  if (IS_CLONE) return here.replace(/^deno install .*jsr:@uds\/uds\/cli$/m, "deno task install");
  return withCacheVariables(here);
}

/**
 * Installs `uds` into a directory, with the command of README.md, and stand-ins for other names.
 */
async function install(dir: TempDir): Promise<Record<string, string>> {
  const command = blocksOf("README.md").find(({ text }) => text.includes("deno install"));
  assert(command, "README.md does not say how to install uds");
  const path = `${dir.file("bin")}:${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`;
  const env = { DENO_INSTALL_ROOT: dir.path, NO_COLOR: "1", PATH: path };
  await runCommands(runnable(command.text, dir), env);
  // A stand-in for npx: the package is here already.
  await Deno.writeTextFile(
    dir.file("bin/npx"),
    `#!/bin/sh\nshift 2\nexec ${Deno.execPath()} "$@"\n`,
  );
  await Deno.chmod(dir.file("bin/npx"), 0o755);
  return env;
}

/** A shell that runs commands one after the other. */
class Shell implements AsyncDisposable {
  readonly #process: Process;
  #seen = 0;
  #commands = 0;

  constructor(env: Record<string, string>, cwd: string) {
    this.#process = new Process(["sh"], { input: "open", env, cwd });
  }

  /** Runs a command to its end, and returns its output. */
  async run(command: string): Promise<string> {
    const mark = `-- ${++this.#commands} done --`;
    await this.#process.type(`{ ${command}\n} 2>&1 </dev/null\necho "${mark}"\n`);
    await this.#process.stdout.until(mark);
    return (await this.#new()).replace(`${mark}\n`, "");
  }

  /** Starts a command in the background, and waits for its first output. */
  async start(command: string, says: string): Promise<string> {
    // An earlier command may have printed the same.
    const mark = `-- ${++this.#commands} starts --\n`;
    await this.#process.type(
      `printf '%s' '${mark}'\n${command.replace(/&$/, "2>&1 &")}\njobs="$jobs $!"\n`,
    );
    await this.#process.stdout.until(mark + says);
    return (await this.#new()).replace(mark, "");
  }

  async #new(): Promise<string> {
    const all = await this.#process.stdout.text();
    const found = all.slice(this.#seen);
    this.#seen = all.length;
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.type('[ -z "$jobs" ] || kill $jobs; wait\n');
    await this.#process.endInput();
    await this.#process.ended;
    await this.#process[Symbol.asyncDispose]();
  }
}

/** Replaces what differs between machines: users, processes, the directory of the clone. */
function leveled(text: string): string {
  const program = join(ROOT, "cli.ts");
  return text.replaceAll("\r\n", "\n")
    .replaceAll(`'${program}'`, program).replaceAll(program, "jsr:@uds/uds/cli")
    .replace(/\b\d+:\d+\b/g, "USER:GROUP").replace(/\bprocess \d+/g, "process PID");
}

/** Returns the commands of a transcript, each with its output. */
function steps(text: string): { command: string; output: string }[] {
  return text.split(/^\$ /m).slice(1).map((step) => {
    const [, command = "", output = ""] = step.match(/^((?:.*\\\n)*.*)\n([^]*)$/) ?? [];
    return { command, output };
  });
}

async function runTranscript(
  text: string,
  env: Record<string, string>,
  cwd: string,
): Promise<void> {
  await using shell = new Shell(env, cwd);
  for (const { command, output } of steps(text)) {
    const found = command.endsWith("&")
      ? await shell.start(command, output)
      : await shell.run(command);
    // A terminal shows a line end where a pipe has none.
    assertEquals(leveled(found).trimEnd(), leveled(output).trimEnd(), command);
  }
}

async function runCommands(
  text: string,
  env: Record<string, string>,
  cwd = ROOT,
): Promise<void> {
  await using process = new Process(["sh", "-ec", text], { cwd, env });
  const { code, stdout, stderr } = await process.ended;
  assertEquals(code, 0, decode(stdout) + stderr);
}

test("steps() splits a transcript", () => {
  assertEquals(steps("$ a\nb\n$ c \\\n  d\n$ e &\nf\n"), [
    { command: "a", output: "b\n" },
    { command: "c \\\n  d", output: "" },
    { command: "e &", output: "f\n" },
  ]);
});

/** The directory and the environment of the installation, which all blocks share. */
let installation: { root: TempDir; env: Promise<Record<string, string>> } | undefined;

function installOnce(): Promise<Record<string, string>> {
  if (installation === undefined) {
    const root = new TempDir();
    installation = { root, env: install(root) };
  }
  return installation.env;
}

Deno.test.afterAll(() => installation?.root[Symbol.asyncDispose]());

const pages = [
  "README.md",
  ...[...Deno.readDirSync(join(ROOT, "docs"))].map(({ name }) => `docs/${name}`)
    .filter((page) => page.endsWith(".md")).sort(),
];
for (const { page, line, kind, text } of pages.flatMap(blocksOf)) {
  // All other blocks already begin with this one.
  if (text.includes("deno install")) continue;
  const needs = PEERS.filter((peer) => new RegExp(`\\b${peer}\\b`).test(text));
  test(`${page}, line ${line}: the ${kind} block does what it shows`, async () => {
    await using dir = new TempDir();
    const env = await installOnce();
    const usesProgram = writePrograms(page, dir).some((file) =>
      text.includes(` ${basename(file)}`)
    );
    const cwd = usesProgram ? dir.path : ROOT;
    await (kind === "sh" ? runCommands : runTranscript)(runnable(text, dir), env, cwd);
  }, { needs, deadline: 15_000 });
}

test("the programs of the pages have no type errors", async () => {
  await using dir = new TempDir();
  const files = pages.flatMap((page, i) => {
    Deno.mkdirSync(dir.file(`${i}`));
    return writePrograms(page, dir, dir.file(`${i}`));
  });
  assert(files.length > 5, "there are few programs");
  const check = [Deno.execPath(), "check", "--quiet", ...files];
  await using process = new Process(check, { cwd: dir.path });
  const { code, stderr } = await process.ended;
  assertEquals(code, 0, stderr);
}, { deadline: 60_000 });

/** Programs that no block runs, and what does. */
const OTHER_PROGRAMS = {
  "docs/scaling.md hub.ts": "tests/interop/scaling_test.ts",
  // It needs a manager that stores descriptors. Its types are checked.
  "docs/systemd.md keep.ts": "tests/systemd/notify_test.ts",
};

test("every program of a page is run by a block of it, or loaded by another program", () => {
  const left = pages.flatMap((page) => {
    const text = Deno.readTextFileSync(join(ROOT, page));
    const commands = blocksOf(page).map((block) => block.text).join("");
    const names = [...text.matchAll(/^```ts ignore\n\/\/ (\w+\.ts)\b/gm)].map(([, name]) => name);
    return names.filter((name) => !commands.includes(` ${name}`) && !text.includes(`"./${name}"`))
      .map((name) => `${page} ${name}`);
  });
  assertEquals(left, Object.keys(OTHER_PROGRAMS));
  for (const file of Object.values(OTHER_PROGRAMS)) assert(Deno.statSync(join(ROOT, file)).isFile);
});

/** Pages without blocks that run. */
const OTHER_PAGES = [
  ...["ARCHITECTURE", "CHANGELOG", "CONTRIBUTING", "RELEASE", "SECURITY"].map((n) => `${n}.md`),
  "bench/README.md",
  ...[...Deno.readDirSync(join(ROOT, "docs/design"))].map(({ name }) => `docs/design/${name}`),
];

/** Returns the anchors of the headings of a page. */
function anchorsOf(text: string): string[] {
  return [...text.replace(/^```.*?^```$/gms, "").matchAll(/^#+ (.*)$/gm)].map(([, title = ""]) =>
    title.toLowerCase().replace(/[^\p{L}\p{N}_\- ]/gu, "").replaceAll(" ", "-")
  );
}

test("anchorsOf() finds the headings of a page, and not the comments of its code", () => {
  assertEquals(anchorsOf("# Deno.serve, `x`: y\n```sh\n# no\n```\n## Ω 2\n"), [
    "denoserve-x-y",
    "ω-2",
  ]);
});

test("every link of the pages has a target", async () => {
  for (const page of [...pages, ...OTHER_PAGES]) {
    const text = await Deno.readTextFile(join(ROOT, page));
    for (const [, target = ""] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^https?:/.test(target)) continue;
      const [file = "", anchor] = target.split("#");
      const path = file === "" ? join(ROOT, page) : join(ROOT, dirname(page), file);
      assert(await Deno.stat(path).then(() => true, () => false), `${page}: ${target}`);
      if (anchor === undefined) continue;
      const anchors = anchorsOf(await Deno.readTextFile(path));
      assert(anchors.includes(anchor), `${page}: ${target} is not a heading there`);
    }
  }
});
