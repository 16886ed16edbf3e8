import { assert, assertEquals, assertMatch } from "@std/assert";
import { serve } from "@uds/uds";
import { dirname, fromFileUrl, join } from "@std/path/posix";
import { installedConfig, installRoot } from "../../tools/install.ts";
import { FLAGS, Process, udsCommand } from "../_cli.ts";
import { decode, ROOT, ROOT_URL, TempDir, test, testAlone } from "../_helpers.ts";

/** Runs a command that must exit with 0. Returns what it prints. */
async function ran(command: string[], cwd: string): Promise<string> {
  await using process = new Process(command, { cwd, env: { NO_COLOR: "1" } });
  const { code, stdout, stderr } = await process.ended;
  assertEquals(code, 0, stderr);
  return decode(stdout);
}

/** Uses the command line in every way that loads modules. */
async function use(command: string[], dir: TempDir): Promise<void> {
  const path = dir.file("s.sock");
  await using _server = await serve(path, (conn) => conn.readable.pipeTo(conn.writable));
  const { version } = JSON.parse(await Deno.readTextFile(join(ROOT, "deno.json")));
  assertEquals(await ran([...command, "--version"], dir.path), `uds ${version}\n`);
  assertEquals(await ran([...command, "probe", path], dir.path), "alive\n");
  assertEquals(await ran([...command, "send", path, "hello"], dir.path), "hello");
  assertEquals(await ran([...command, "run", "--stdio", "echo", "hello"], dir.path), "hello\n");
  assertMatch(await ran([...command, "ls", dir.path], dir.path), /\nclaimed .*s\.sock\n$/);
}

test("installRoot() is where deno install installs", () => {
  const own = Deno.env.get("DENO_INSTALL_ROOT") ?? `${Deno.env.get("HOME")}/.deno`;
  const roots = [["--root", "/a"], ["--name", "x", "--root=/b"], []].map(installRoot);
  assertEquals(roots, ["/a", "/b", own]);
});

const ALL = [...FLAGS, "--allow-run", "--allow-env"];

test("uds runs from a clone, from any directory", async () => {
  await using dir = new TempDir();
  await use([Deno.execPath(), "run", ...ALL, join(ROOT, "cli.ts")], dir);
});

test("deno task install puts uds on the PATH from a clone, without a warning", async () => {
  await using dir = new TempDir();
  await using root = new TempDir();
  await using process = new Process(
    [Deno.execPath(), "task", "install", "--root", root.path],
    { cwd: ROOT, env: { NO_COLOR: "1" } },
  );
  const { code, stderr } = await process.ended;
  assertEquals(code, 0, stderr);
  assertEquals(stderr.match(/warning.*/i), null);
  // The installed command calls deno by its name.
  const path = `${dirname(Deno.execPath())}:${Deno.env.get("PATH")}`;
  await use(["env", `PATH=${path}`, join(root.path, "bin/uds")], dir);
  const pages = [...Deno.readDirSync(join(root.path, "share/man/man1"))].map(({ name }) => name);
  assert(pages.includes("uds.1") && pages.includes("uds-serve.1"), pages.join(" "));
});

test("uds runs from what is published", async () => {
  await using dir = new TempDir();
  await using unpacked = new TempDir();
  await using process = new Process([Deno.execPath(), "run", "-A", "tools/publish.ts"], {
    cwd: ROOT,
    env: { NO_COLOR: "1" },
  });
  const { stderr } = await process.ended;
  const files = [...stderr.matchAll(/^ *(file:\S+) \(/gm)].map(([, url = ""]) => fromFileUrl(url))
    .filter((file) => !/\/links\/|deno\.publish\./.test(file));
  assert(files.includes(join(ROOT, "cli.ts")), stderr);
  for (const file of files) {
    const copy = join(unpacked.path, file.slice(ROOT.length));
    await Deno.mkdir(dirname(copy), { recursive: true });
    await Deno.copyFile(file, copy);
  }
  // The packages of JSR may be out of reach, so use the stand-ins of the clone.
  const config = join(unpacked.path, "deno.json");
  const published = JSON.parse(await Deno.readTextFile(config));
  const standIns = installedConfig(published, new URL(ROOT_URL));
  await Deno.writeTextFile(config, JSON.stringify({ ...published, ...standIns }));
  // Of these folders, only what pages link to is published.
  assertEquals(
    files.filter((file) => /\/(tests|tools|bench)\//.test(file)),
    ["README.md", "results/report.md", "results/summary.svg"].map((name) =>
      join(ROOT, "bench", name)
    ),
  );
  await use([Deno.execPath(), "run", ...ALL, join(unpacked.path, "cli.ts")], dir);
});

/**
 * How many modules Deno may read for the command line, and how many of them `uds probe` may run. On
 * 2026-11-28 it was 280 and 47. Reading one takes 0.13 ms.
 */
const MODULES = { read: 290, run: 50 };

test("uds probe runs few of the modules that Deno reads for it", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async () => {});
  const info = JSON.parse(
    await ran([Deno.execPath(), "info", "--json", join(ROOT, "cli.ts")], ROOT),
  );
  const modules = new Map<string, Module>(
    info.modules.map((module: Module) => [module.specifier, module]),
  );
  const read = new Set<string>(info.roots);
  for (const specifier of read) {
    for (const { code } of modules.get(specifier)?.dependencies ?? []) {
      if (code?.specifier?.startsWith("file:")) read.add(code.specifier);
    }
  }
  assert(read.size <= MODULES.read, `${read.size} modules are read`);

  const command = udsCommand(["probe", dir.file("s.sock")], ["-A"]);
  await using process = new Process(command, { env: { DENO_COVERAGE_DIR: dir.file("run") } });
  assertEquals((await process.ended).code, 0);
  const { length } = [...Deno.readDirSync(dir.file("run"))];
  assert(length > 10 && length <= MODULES.run, `${length} modules are run`);
});

interface Module {
  specifier: string;
  dependencies?: { code?: { specifier?: string } }[];
}

testAlone(
  "uds probe of a live path takes at most 1.4 times as long as Deno to read its modules",
  async () => {
    await using dir = new TempDir();
    await using _server = await serve(dir.file("s.sock"), async () => {});
    const reads = dir.file("reads.ts");
    // Deno reads a module that is imported later, too.
    await Deno.writeTextFile(reads, `if (Deno.args.length > 0) await import("${ROOT_URL}cli.ts");`);
    const commands = [
      [...udsCommand([], ["-A"]).slice(0, -1), reads],
      udsCommand(["probe", dir.file("s.sock")], ["-A"]),
    ];
    const options = { stdin: "null" } as const;
    let ratio = Infinity;
    const rounds = [];
    // The machine may be busy with something else, so one of five rounds is enough.
    for (let round = 0; round < 5 && ratio > 1.4; round++) {
      const times: number[][] = [[], []];
      for (let i = 0; i < 15; i++) {
        for (const [which, [command, ...args]] of commands.entries()) {
          const start = performance.now();
          const { code } = await new Deno.Command(command!, { args, ...options }).output();
          times[which]!.push(performance.now() - start);
          assertEquals(code, 0);
        }
      }
      const [read, probe] = times.map((all) => all.sort((a, b) => a - b)[7]!);
      ratio = Math.min(ratio, probe! / read!);
      rounds.push(`${probe!.toFixed(1)} ms beside ${read!.toFixed(1)} ms`);
    }
    console.log(`uds probe: ${rounds.join("; ")}`);
    assert(ratio <= 1.4, rounds.join("; "));
  },
  { deadline: 30_000 },
);
