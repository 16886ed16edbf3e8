import { type Child, pair, type PairOptions, permissionFlags, permissions } from "@uds/uds";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  decode,
  encode,
  fixture,
  Program,
  readAll,
  ROOT,
  run,
  TempDir,
  test,
  testAlone,
} from "../_helpers.ts";
import { attempts, type Targets } from "../fixtures/sandbox/attempts.ts";

const FIXTURES = `${ROOT}tests/fixtures/sandbox`;

/** A module of the fixtures. */
function moduleOf(name: string): URL {
  return new URL(`../fixtures/sandbox/${name}`, import.meta.url);
}

/** Writes files, and links (`a -> b`), into a directory, making directories; gives the URL of the first. */
async function write(dir: TempDir, files: Record<string, string>): Promise<URL> {
  for (const [name, text] of Object.entries(files)) {
    const path = dir.file(name);
    const [file, link] = path.split(" -> ");
    await Deno.mkdir(file!.slice(0, file!.lastIndexOf("/")), { recursive: true });
    if (link === undefined) await Deno.writeTextFile(path, text);
    else await Deno.symlink(link, file!);
  }
  return new URL(`file://${dir.file(Object.keys(files)[0] as string)}`);
}

/** A module that says one thing, an expression's value as JSON. */
function saying(expression: string, before = ""): string {
  return `import fs from "node:fs";\n${before}\nfs.writeSync(3, JSON.stringify(${expression}));\n`;
}

/** All that a module says; then it has ended. */
async function said(url: URL, options: PairOptions = {}): Promise<string> {
  await using child = await pair(url, options);
  const text = decode(await readAll(child.conn));
  await child.status;
  return text;
}

/** What it says, as JSON. */
async function saidJson(url: URL, options: PairOptions = {}): Promise<unknown> {
  const text = await said(url, options);
  assert(text !== "", "the module said nothing");
  return JSON.parse(text);
}

/** What a module answers to one message. */
async function answer(child: Child, message: string): Promise<string> {
  await child.conn.write(encode(message));
  await child.conn.closeWrite();
  return decode(await readAll(child.conn));
}

/** The processes that this one has started and that are still there, where the system tells. */
function children(): string[] {
  if (Deno.build.os !== "linux") return [];
  return [...Deno.readDirSync("/proc/self/task")].flatMap(({ name }) =>
    Deno.readTextFileSync(`/proc/self/task/${name}/children`).split(" ").filter((pid) => pid !== "")
  );
}

/** Rejects, and leaves no process behind. */
async function assertRefused<E extends Error>(
  start: () => Promise<Child>,
  // deno-lint-ignore no-explicit-any
  Class: new (...args: any[]) => E,
  message: string,
): Promise<E> {
  const before = children();
  const error = await assertRejects(
    async () => {
      await using _child = await start();
    },
    Class,
    message,
  );
  assertEquals(children(), before);
  return error;
}

// ---- What a module can do --------------------------------------------------------------------------

test("pair(module) connects a module that uses node:net alone", async () => {
  await using child = await pair(moduleOf("net_echo.ts"));
  assertEquals(await answer(child, "ping"), "ping");
  assertEquals(await child.status, { success: true, code: 0, signal: null });
});

test("pair(module) connects a module that uses node:fs alone", async () => {
  await using child = await pair(moduleOf("sync_reply.ts"));
  assertEquals(await answer(child, "ping"), "got ping");
});

test("pair(module) lets it import the package by its name from a project that it may read", async () => {
  await using child = await pair(moduleOf("package_echo.ts"), {
    modules: [ROOT],
    config: new URL("../../deno.json", import.meta.url),
  });
  assertEquals(await answer(child, "ping"), "ping");
});

test("pair(module) lets it import the package by a path, with `modules` as a URL", async () => {
  await using child = await pair(moduleOf("relative_echo.ts"), {
    modules: [new URL("../..", import.meta.url)],
  });
  assertEquals(await answer(child, "ping"), "ping");
});

test("pair(module) lets it import the package from Deno's cache, with no directory but its own", async () => {
  await using dir = new TempDir();
  const cacheDir = dir.file("cache");
  const sources = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, async (request) => {
    const { pathname } = new URL(request.url);
    const text = await Deno.readTextFile(`${ROOT}${pathname.slice(1)}`);
    return new Response(text, { headers: { "content-type": "application/typescript" } });
  });
  const host = `127.0.0.1:${sources.addr.port}`;
  const url = await write(dir, {
    "own/echo.ts": await Deno.readTextFile(moduleOf("package_echo.ts")),
    "own/deno.json": JSON.stringify({
      imports: {
        "@uds/uds": `http://${host}/pair.ts`,
      },
    }),
  });
  const cached = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "--no-lock", `--allow-import=${host}`, "echo.ts"],
    cwd: dir.file("own"),
    env: { DENO_DIR: cacheDir },
  }).output();
  await sources.shutdown();
  assert(cached.success, decode(cached.stderr));
  // jsr.io is among the hosts that need no permission.
  await using child = await pair(url, {
    env: { DENO_DIR: cacheDir },
    config: new URL("deno.json", url),
    permissions: { import: [host] },
  });
  assertEquals(await answer(child, "ping"), "ping");
});

test("pair(module) finds the cache of this process where HOME says so", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "own/w.ts": saying("1 as number") });
  await Deno.mkdir(dir.file("home"));
  await using parent = new Program(
    Deno.execPath(),
    // What this process itself needs is in the cache of its own.
    [
      "run",
      "-A",
      "--quiet",
      "--no-lock",
      "--config",
      `${ROOT}deno.json`,
      `${FIXTURES}/other_home.ts`,
    ]
      .concat(url.pathname, dir.file("home")),
  );
  assertEquals(await parent.line(), "1");
  await parent.status;
  assertEquals([...Deno.readDirSync(dir.file("home"))].map((entry) => entry.name), [".cache"]);
});

test("pair(module) lets it import all of its own directory, static and dynamic", async () => {
  assertEquals(await saidJson(moduleOf("imports.ts"), { args: ["a"] }), {
    static: "part",
    json: 1,
    literal: "part",
    computed: "part",
    computedJson: 1,
    args: ["a"],
    meta: [true, true],
  });
});

test("pair(module) uses the import map of `config`, and of no other deno.json", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/deep/w.ts": saying("[a, b]", `import { a } from "mapped"; import { b } from "#/b.ts";`),
    "own/deep/a.ts": `export const a = "a";`,
    "own/deep/b.ts": `export const b = "b";`,
    "own/deno.jsonc": `// A comment.
      { "imports": { "mapped": "./deep/a.ts", "#/": "./deep/" } }`,
    "deno.json": `{ "imports": { "mapped": "./nowhere.ts" } }`,
  });
  const config = new URL("../deno.jsonc", url);
  assertEquals(await saidJson(url, { config }), ["a", "b"]);
  await assertRefused(() => pair(url), Deno.errors.InvalidData, "not a dependency");
});

test("pair(module) lets it import from the directories of `modules`, and no others", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying(
      "[a, b, c]",
      `
      import { a } from "../lib/a.ts";
      const b = Deno.readTextFileSync(new URL("../lib/a.ts", import.meta.url)).length;
      const c = await import("../other/c.ts").catch((error) => error.name);
    `,
    ),
    "lib/a.ts": `export const a = 1;`,
    "other/c.ts": `export const c = 1;`,
  });
  const expected = [1, 19, "TypeError"];
  assertEquals(await saidJson(url, { modules: [dir.file("own"), dir.file("lib")] }), expected);
  const modules = [new URL(".", url), new URL("../lib", url)];
  assertEquals(await saidJson(url, { modules }), expected);
});

test("pair(module) takes a relative path of `modules` from here, not from the child's `cwd`", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "own/w.ts": saying("1") });
  const up = "../".repeat(Deno.cwd().split("/").length);
  const relative = `${up}${dir.file("own").slice(1)}`;
  assertEquals(await saidJson(url, { modules: [relative] }), 1);
  assertEquals(await saidJson(url, { modules: [relative], cwd: "/" }), 1);
  await Deno.mkdir(dir.file("a/b/c"), { recursive: true });
  assertEquals(await saidJson(url, { modules: [relative], cwd: dir.file("a/b/c") }), 1);
});

test("pair(module) runs a module whose path has a space, a # and a letter outside ASCII", async () => {
  await using dir = new TempDir();
  await write(dir, { "a dir/ü #1.ts": saying("import.meta.filename") });
  const url = new URL(
    `file://${dir.path}/${encodeURIComponent("a dir")}/${encodeURIComponent("ü #1.ts")}`,
  );
  assertEquals(await saidJson(url), dir.file("a dir/ü #1.ts"));
});

const ARGUMENTS = {
  "none": [],
  "flags of deno": ["-A", "--allow-all", "--allow-read=/", "--v8-flags=--help"],
  "flags of node": ["-e", "process.exit(7)", "--eval", "-p", "--import", "x"],
  "a separator": ["--", "-A"],
  "empty and odd ones": ["", " ", "\n", "ü", "a,b", "$HOME", "*"],
  "Deno itself": [Deno.execPath(), "run", "x.ts"],
};
for (const [name, args] of Object.entries(ARGUMENTS)) {
  test(`pair(module) makes \`args\` its Deno.args: ${name}`, async () => {
    await using dir = new TempDir();
    await write(dir, { "secret.txt": "secret" });
    const url = await write(dir, {
      "own/w.ts": saying(
        "[Deno.args, read]",
        `
        let read = "read";
        try { Deno.readTextFileSync(new URL("../secret.txt", import.meta.url)); }
        catch (error) { read = error.name; }
      `,
      ),
    });
    assertEquals(await saidJson(url, { args }), [args, "NotCapable"]);
  });
}

test("pair(module) gives it no variable of ours, but those of `env`", async () => {
  Deno.env.set("UDS_CANARY", "ours");
  try {
    await using child = await pair(moduleOf("net_echo.ts"), { env: { UDS_MINE: "mine" } });
    if (Deno.build.os !== "linux") return;
    const environ = (await Deno.readTextFile(`/proc/${child.pid}/environ`)).split("\0");
    const names = environ.filter((entry) => entry !== "").map((entry) => entry.split("=")[0]);
    assert(environ.includes("UDS_MINE=mine"), "it has its own");
    for (const name of ["UDS_CANARY", "PATH", "USER", "PWD"]) {
      assert(!names.includes(name), `${name} was handed on`);
    }
  } finally {
    Deno.env.delete("UDS_CANARY");
  }
});

test("pair(module) runs with exactly the permissions that permissions() says", async () => {
  const url = moduleOf("net_echo.ts");
  const set = permissions("pair", url);
  assertEquals(set, { run: [Deno.execPath()], env: ["NODE_V8_COVERAGE"] });
  const flags = permissionFlags(set);
  assertEquals(flags, [`--allow-run=${Deno.execPath()}`, "--allow-env=NODE_V8_COVERAGE"]);
  await using parent = fixture("tests/fixtures/sandbox/start_module.ts", flags, [
    moduleOf("imports.ts").pathname,
    JSON.stringify({ args: ["b"] }),
  ]);
  assertEquals(JSON.parse(await parent.line()).args, ["b"]);
  assertEquals(await parent.line(), "0");
});

test("pair() refuses a module in a compiled program, where there is no Deno to run it", async () => {
  await using dir = new TempDir();
  // Compiling takes a download; what the program would find is put in its place.
  await Deno.writeTextFile(
    dir.file("compiled.ts"),
    `Object.defineProperty(Deno, "build", { value: { ...Deno.build, standalone: true } });
    const { pair } = await import("@uds/uds");
    const error = await pair(new URL("file:///x.ts")).catch((error) => error);
    console.log(error instanceof Deno.errors.NotSupported, error.operation, error.message);
    await using child = await pair("true");
    console.log((await child.status).code);`,
  );
  const { code, stdout, stderr } = await run(Deno.execPath(), [
    "run",
    "-A",
    "--quiet",
    `--config=${ROOT}deno.json`,
    "--no-lock",
    dir.file("compiled.ts"),
  ]);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^true pair Cannot start "file:\/\/\/x\.ts": this program was compiled/);
  assert(stdout.endsWith("\n0\n"), stdout);
  assertEquals(Deno.build.standalone, false);
});

// ---- What it must not be able to do -------------------------------------------------------------------

/** Everything that is unstable, so that nothing is refused for that alone. */
const UNSTABLE = [
  "bundle",
  "cron",
  "ffi",
  "kv",
  "net",
  "raw-imports",
  "sloppy-imports",
  "vsock",
  "webgpu",
  "worker-options",
];

const STOLEN = "TOP-SECRET";

/** A hostile module in its own directory, what it is after beside that, and who listens. */
class Hostile implements AsyncDisposable {
  readonly dir = new TempDir();
  readonly targets: Targets;
  readonly #listeners: [Deno.TcpListener, Deno.UnixListener];
  readonly #accepting: Promise<unknown>;
  /** How many have connected. */
  visitors = 0;

  constructor() {
    const directory = this.dir.file("secrets");
    Deno.mkdirSync(directory);
    const socket = `${directory}/s.sock`;
    const tcp = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    this.#listeners = [tcp, Deno.listen({ transport: "unix", path: socket })];
    this.#accepting = Promise.all(this.#listeners.map(async (listener) => {
      for await (const conn of listener) {
        this.visitors++;
        conn.close();
      }
    }));
    this.targets = {
      secret: `${directory}/secret.txt`,
      json: `${directory}/secret.json`,
      script: `${directory}/secret.js`,
      absent: `${directory}/absent`,
      directory,
      port: tcp.addr.port,
      socket,
    };
  }

  /** Writes everything; gives the module. */
  async prepare(): Promise<URL> {
    await write(this.dir, {
      "secrets/secret.txt": `SECRET=${STOLEN}\n`,
      "secrets/secret.json": JSON.stringify({ secret: STOLEN }),
      "secrets/secret.js": `globalThis.postMessage?.("${STOLEN}"); export const secret = 1;`,
      "pair_echo.ts": `export default "${STOLEN}";`,
    });
    return await write(this.dir, {
      "own/hostile.ts": await Deno.readTextFile(moduleOf("hostile.ts")),
      "own/attempts.ts": await Deno.readTextFile(moduleOf("attempts.ts")),
      "own/deno.json": JSON.stringify({ unstable: UNSTABLE }),
    });
  }

  /** Everything is as it was. */
  async assertUntouched(): Promise<void> {
    assertEquals(this.dir.list(), ["own", "pair_echo.ts", "secrets"]);
    const names = (name: string) => [...Deno.readDirSync(this.dir.file(name))].map((e) => e.name);
    assertEquals(names("own").sort(), ["attempts.ts", "deno.json", "hostile.ts"]);
    assertEquals(names("secrets").sort(), ["s.sock", "secret.js", "secret.json", "secret.txt"]);
    assertEquals(await Deno.readTextFile(this.targets.secret), `SECRET=${STOLEN}\n`);
    assertEquals(this.visitors, 0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const listener of this.#listeners) listener.close();
    await this.#accepting;
    await this.dir[Symbol.asyncDispose]();
  }
}

/** How each attempt ends, by the beginning of its name; the last one that fits. */
const REFUSALS: [name: string, outcome: RegExp][] = [
  ["", /^NotCapable: /],
  ["read XMLHttpRequest", /is not a constructor/],
  ["read process.binding fs", /is not a function/],
  ["read node:fs watchFile", /not seen/],
  ["read sqlite ATTACH", /too many attached databases - max 0/],
  ["read sqlite readfile", /no such function/],
  ["read op_", /Cannot read properties of undefined/],
  ["read Deno.openKv", /is not a function/],
  ["import", /^(TypeError|NotCapable): Requires read access/],
  ["import npm:", /--cached-only is specified/],
  ["import jsr:", /--cached-only is specified/],
  ["import http", /--cached-only is specified/],
  ["import Module.register", /is not a function/],
  ["import Module.registerHooks", /^NotCapable: Requires read access/],
  ["import ShadowRealm", /is not a constructor/],
  ["worker", /^NotCapable: Cannot start a worker: /],
  ["write process.report", /nothing written/],
  ["write sqlite ATTACH", /too many attached databases - max 0/],
  ["write sqlite VACUUM INTO", /too many attached databases - max 0/],
  ["write sqlite temp_store_directory", /ignored/],
  ["net EventSource", /^Error: refused/],
  ["net node:dns", /EPERM|UNKNOWN/],
  ["net node:net by name", /EPERM/],
  ["ffi op_", /Cannot read properties of undefined/],
  ["bundle", /is not a function/],
  ["ask", /^Error: (denied|null|false|undefined|end of file)$/],
  ["fd", /EBADF|Bad file descriptor|end of file|EINVAL/],
  ["fd take over the files that Deno has open", /process.binding is not a function/],
];

/** The outcome of every attempt, of one pass for all tests. */
let pass: Promise<Record<string, string>> | undefined;

async function attemptAll(): Promise<Record<string, string>> {
  await using hostile = new Hostile();
  const url = await hostile.prepare();
  const args = [JSON.stringify(hostile.targets)];
  const config = new URL("deno.json", url);
  // What Deno has in its cache, esbuild for instance, must make no difference.
  await using cache = new TempDir();
  const env = { DENO_DIR: cache.path };
  const report = await saidJson(url, { args, config, env, stdout: "null", stderr: "null" });
  await hostile.assertUntouched();
  return report as Record<string, string>;
}

const NAMES = Object.keys(attempts({} as Targets));

/** What an attempt came to must be its refusal, and nothing stolen. */
function assertOutcome(name: string, outcome: string | undefined): void {
  const [, expected] = REFUSALS.findLast(([start]) => name.startsWith(start)) as [string, RegExp];
  assert(outcome !== undefined, "it was not tried");
  assert(!outcome.includes(STOLEN), outcome);
  assertMatch(outcome, expected);
}

for (const name of NAMES) {
  test(`pair(module) refuses a module of a parent with every permission: ${name}`, async () => {
    pass ??= attemptAll();
    assertOutcome(name, (await pass)[name]);
  }, { deadline: 20_000 });
}

/** A parent that starts a module, with a terminal at which nobody answers. */
function onTerminal(url: URL, options: PairOptions, before: string[] = []): Program {
  const deno = ["run", "-A", "--quiet", "--no-lock", "--config", `${ROOT}deno.json`];
  const script = [`${FIXTURES}/start_module.ts`, url.pathname, JSON.stringify(options)];
  if (options.config) script.push(options.config.href);
  const words = [...before, Deno.execPath(), ...deno, ...script];
  return new Program("script", ["-qec", words.map((word) => `'${word}'`).join(" "), "/dev/null"], {
    // The parent's own look for a newer Deno is not what is measured.
    env: { DENO_NO_UPDATE_CHECK: "1" },
    stdin: "piped",
  });
}

test(
  "pair(module) sends nothing, opens no secret and never prompts, also on a terminal",
  async () => {
    await using hostile = new Hostile();
    const url = await hostile.prepare();
    const log = hostile.dir.file("secrets/strace.log");
    const config = new URL("deno.json", url);
    const options = { args: [JSON.stringify(hostile.targets)], config };
    const trace = ["-f", "-qq", "--trace=connect,sendto,sendmsg,sendmmsg,openat"];
    await using program = onTerminal(url, options, ["strace", ...trace, `--output=${log}`]);
    const output = (await program.output()).map((text) => text.trim());
    const said = output.find((text) => text.startsWith("{"));
    assert(said !== undefined, output.join("\n"));
    const report = JSON.parse(said) as Record<string, string>;
    for (const name of NAMES) assertOutcome(name, report[name]);
    const talk = output.filter((text) => text !== said).join("\n");
    assert(!/Allow\?|Deno requests|\[y\/n|password\?|sure\?/.test(talk), talk);

    const calls = (await Deno.readTextFile(log)).split("\n");
    assert(calls.some((call) => call.includes("hostile.ts")), "the trace is of the module");
    assertEquals(calls.filter((call) => call.includes("AF_INET")), []);
    assertEquals(calls.filter((call) => /secret\.(txt|json|js)"/.test(call)), []);
    await Deno.remove(log);
    await hostile.assertUntouched();
  },
  { deadline: 30_000, needs: ["script", "strace"] },
);

test(
  "pair(module) never prompts for a permission, also with the terminal as its input",
  async () => {
    await using dir = new TempDir();
    const url = await write(dir, {
      "own/w.ts": saying(
        "[isTerminal, state, name]",
        `
      const isTerminal = Deno.stdin.isTerminal();
      const { state } = await Deno.permissions.request({ name: "env" });
      let name;
      try { Deno.readTextFileSync("/etc/passwd"); } catch (error) { name = error.name; }
    `,
      ),
    });
    await using program = onTerminal(url, { stdin: "inherit" });
    const output = (await program.output()).map((line) => line.trim()).filter((line) =>
      line !== ""
    );
    assertEquals(output[0], JSON.stringify([true, "denied", "NotCapable"]));
    assertEquals(output.length, 2);
  },
  { needs: ["script"] },
);

test("pair(module) ends the process of a module that does not catch the refusal of a worker", async () => {
  await using dir = new TempDir();
  const text = saying(
    "1",
    `
    const deno = { permissions: { read: true } };
    new Worker("data:text/javascript,", { type: "module", deno });
  `,
  );
  await using child = await pair(await write(dir, { "w.ts": text }), { stderr: "null" });
  assertEquals(decode(await readAll(child.conn)), "");
  assertEquals((await child.status).success, false);
});

/** Imports of a file that is not in the module's directory: all of them are refused before it runs. */
const DENIED: Record<string, string> = {
  "a static text import": `import s from "../secret.txt" with { type: "text" };`,
  "a static bytes import": `import s from "../secret.txt" with { type: "bytes" };`,
  "a static json import": `import s from "../secret.json" with { type: "json" };`,
  "a static import of a script": `import * as s from "../secret.ts";`,
  "an export from a script": `export * from "../secret.ts";`,
  "a deferred import": `import defer * as s from "../secret.ts";`,
  "a static import behind another": `import s from "./inner.ts";`,
  "a static import by an absolute path": `import s from "/etc/passwd" with { type: "text" };`,
  "a static import in a data: URL": `import s from "data:text/javascript,${
    encodeURIComponent(`import s from "file:///etc/passwd" with { type: "text" }; export default s`)
  }";`,
};
for (const [name, text] of Object.entries(DENIED)) {
  test(`pair(module) rejects where it cannot read what is imported: ${name}`, async () => {
    await using dir = new TempDir();
    const url = await write(dir, {
      "own/w.ts": `${text}\nconsole.log(s);`,
      "own/deno.json": `{ "unstable": ["raw-imports"] }`,
      "own/inner.ts": `export { default } from "../secret.txt" with { type: "text" };`,
      "secret.txt": STOLEN,
      "secret.json": JSON.stringify(STOLEN),
      "secret.ts": `export const stolen = "${STOLEN}"; console.log(stolen);`,
    });
    const message = `Cannot load the module "${url.href}": it imports "`;
    const config = new URL("deno.json", url);
    const error = await assertRefused(
      () => pair(url, { config }),
      Deno.errors.InvalidData,
      message,
    );
    assert(error.message.includes(`modules: [new URL("..", import.meta.url)]`), error.message);
    assert(!error.message.includes("--allow"), error.message);
  });
}

test("pair(module) does not read for it what an import map puts in the place of node:fs", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": `const fs = process.getBuiltinModule("node:fs");
      fs.writeSync(3, String(globalThis.stolen));`,
    "own/evil.ts": `import stolen from "../secret.txt" with { type: "text" };
      globalThis.stolen = stolen;
      export default process.getBuiltinModule("node:fs");`,
    "own/deno.json": `{ "imports": { "node:fs": "./evil.ts" } }`,
    "secret.txt": STOLEN,
  });
  // It runs without the secret, or it is not loaded.
  const config = new URL("deno.json", url);
  const outcome = await said(url, { config }).catch((error) => error.message);
  assert(!outcome.includes(STOLEN), outcome);
  assertMatch(outcome, /^undefined$|is not in a directory that it may import from/);
});

test("pair(module) quotes a line of it without what a terminal would obey", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "w.ts": `let y = "\x1b]52;c;AAAA\x07\x9b2J\r\u202e" = 1;` });
  const error = await assertRefused(() => pair(url), Deno.errors.InvalidData, "let y = ");
  // deno-lint-ignore no-control-regex -- those are meant
  assertEquals(error.message.match(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/g), null);
  assert(error.message.includes(String.raw`"\x1b]52;c;AAAA\x07\x9b2J\x0d\u{202e}`), error.message);
});

test("pair(module) takes relative paths of permissions from this process's directory", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying(`Deno.permissions.querySync({ name: "read", path: "${dir.path}/x" }).state`),
    "cwd/x": "",
  });
  const before = Deno.cwd();
  Deno.chdir(dir.path);
  try {
    const options: PairOptions = { permissions: { read: ["./x"] }, cwd: dir.file("cwd") };
    assertEquals(await saidJson(url, options), "granted");
  } finally {
    Deno.chdir(before);
  }
});

if (Deno.build.os === "linux") {
  test("pair(module) runs nothing of it before it is loaded, whatever its import map names", async () => {
    await using dir = new TempDir();
    const url = await write(dir, {
      "own/w.ts": saying("globalThis.early ?? 1", `fs.readSync(3, new Uint8Array(1));`),
      "own/evil.ts": "globalThis.early = 2;",
    });
    // What one start imports beside the module says what to name before the next one.
    const names: string[] = [];
    {
      await using child = await pair(url, { grace: 0 });
      let text = await Deno.readTextFile(`/proc/${child.pid}/cmdline`);
      text = text.slice(0, text.lastIndexOf("file:"));
      for (const layer of [text, decodeURIComponent(text)]) {
        names.push(...layer.match(/data:text\/javascript,[^"'\0\s]+/g) ?? []);
      }
    }
    assert(names.length >= 2, `${names}`);
    const imports = Object.fromEntries(names.map((name) => [name, "./evil.ts"]));
    await write(dir, { "own/deno.json": JSON.stringify({ imports }) });
    const config = new URL("deno.json", url);
    await using child = await pair(url, { config, signal: AbortSignal.timeout(5000) });
    assertEquals(await answer(child, "x"), "1");
  });
}

test(
  "pair(module) has no output of this process's own, and what it prints is copied there",
  async () => {
    const parent = `
    import { pair } from "@uds/uds";
    await using child = await pair(new URL(Deno.args[0]), { grace: 5000 });
    await new Response(child.conn.readable).text();
    await child.status;
    await child[Symbol.asyncDispose]();
    await Deno.stdout.write(new TextEncoder().encode("last\\n"));`;
    await using dir = new TempDir();
    const url = await write(dir, {
      "own/w.ts": `
      import net from "node:net";
      import fs from "node:fs";
      console.log("printed");
      console.error("complained");
      Deno.stdout.writeSync(new Uint8Array(300_000).fill(46));
      console.log();
      for (const fd of [1, 2]) {
        try {
          const socket = new net.Socket({ fd, allowHalfOpen: true });
          socket.on("error", () => {});
          socket.on("data", (data) => fs.writeSync(3, "stole " + data));
          socket.end();
        } catch { /* it cannot even be adopted */ }
      }`,
      "parent.ts": parent,
    });
    const config = ["--quiet", "--config", `${ROOT}deno.json`, "--no-lock"];
    const args = ["run", "-A", ...config, dir.file("parent.ts"), url.href];
    const { code, stdout, stderr } = await run(Deno.execPath(), args);
    assertEquals([code, stderr], [0, "complained\n"]);
    assertEquals(
      stdout.replace(".".repeat(300_000), "300,000 dots"),
      "printed\n300,000 dots\nlast\n",
    );
  },
  { deadline: 20_000 },
);

test("pair(module) cannot change a terminal that is its parent's output", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying(
      "[0, 1, 2].map((fd) => fs.fstatSync(fd).isCharacterDevice())",
      `import tty from "node:tty";
      for (const fd of [0, 1, 2]) {
        try { new tty.ReadStream(fd).setRawMode(true); } catch { /* as it should be */ }
      }`,
    ),
    "parent.ts": `
      import { pair } from "@uds/uds";
      await using child = await pair(new URL(Deno.args[0]));
      console.log(await new Response(child.conn.readable).text());`,
  });
  const config = ["--quiet", "--config", `${ROOT}deno.json`, "--no-lock"];
  const words = [Deno.execPath(), "run", "-A", ...config, dir.file("parent.ts"), url.href];
  const { stdout } = await run("script", ["-qec", `${words.join(" ")}; stty -a`, "/dev/null"]);
  assertMatch(stdout, /[^-]icanon/);
}, { needs: ["script"] });

/** Settings with which Deno lets everything below any `node_modules` be imported. */
const PACKAGES: Record<string, Record<string, string>> = {
  "nodeModulesDir": { "own/deno.json": `{ "nodeModulesDir": "manual" }` },
  "a package.json": { "own/deno.json": "{}", "own/package.json": `{ "name": "w" }` },
  "unstable byonm": { "own/deno.json": `{ "unstable": ["byonm"] }` },
};
for (const [name, files] of Object.entries(PACKAGES)) {
  test(`pair(module) keeps it from the packages of other projects: ${name}`, async () => {
    await using dir = new TempDir();
    const url = await write(dir, {
      "own/w.ts": saying(
        "outcomes",
        `
        import { createRequire } from "node:module";
        const path = ${JSON.stringify(dir.file("other/node_modules/x/secret"))};
        const outcomes = [];
        for (const read of [
          () => createRequire(import.meta.url)(path + ".json"),
          () => createRequire(import.meta.url)(path + ".js"),
          () => import(path + ".json", { with: { type: "json" } }),
          () => import(path + ".txt", { with: { type: "text" } }),
        ]) {
          try { outcomes.push(JSON.stringify(await read())); }
          catch (error) { outcomes.push(error.name); }
        }
      `,
      ),
      ...files,
      "other/node_modules/x/secret.json": JSON.stringify(STOLEN),
      "other/node_modules/x/secret.txt": STOLEN,
      "other/node_modules/x/secret.js": `module.exports = "${STOLEN}";`,
    });
    const config = files["own/deno.json"] === undefined
      ? {}
      : { config: new URL("deno.json", url) };
    const expected = ["NotCapable", "NotCapable", "TypeError", "TypeError"];
    assertEquals(await saidJson(url, config), expected);
  });
}

test("pair(module) installs no packages for it and runs no scripts of theirs", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying("1"),
    // In the cache of this project.
    "own/package.json": JSON.stringify({
      name: "w",
      version: "1.0.0",
      dependencies: { "deno-std": "1.4.0" },
      scripts: { postinstall: `/bin/sh -c 'echo ran > ${dir.file("ran")}'` },
    }),
    "own/deno.json": `{ "nodeModulesDir": "auto", "allowScripts": true }`,
  });
  await said(url, { stderr: "null", config: new URL("deno.json", url) }).catch(() => {});
  assertEquals(dir.list(), ["own"]);
  assertEquals([...Deno.readDirSync(dir.file("own"))].map((entry) => entry.name).sort(), [
    "deno.json",
    "package.json",
    "w.ts",
  ]);
});

test("pair(module) copies nothing from the cache into its directory", async () => {
  await using dir = new TempDir();
  const remote = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => new Response("export default 1;", { headers: { "content-type": "text/javascript" } }),
  );
  const host = `127.0.0.1:${remote.addr.port}`;
  const url = await write(dir, {
    "own/w.ts": saying("one", `import one from "http://${host}/one.js";`),
    "own/deno.json": `{ "vendor": true }`,
  });
  const env = { DENO_DIR: dir.file("cache") };
  const cached = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "--no-config", `--allow-import=${host}`, url.href],
    env,
  }).output();
  await remote.shutdown();
  assert(cached.success, decode(cached.stderr));
  assertEquals(await saidJson(url, { env, config: new URL("deno.json", url) }), 1);
  const names = [...Deno.readDirSync(dir.file("own"))].map((entry) => entry.name);
  assertEquals(names.sort(), ["deno.json", "w.ts"]);
});

test("pair(module) keeps it from the databases of Deno's cache, which its process has open", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying(
      "adopted",
      `
      import net from "node:net";
      const adopted = [];
      for (let fd = 4; fd < 60; fd++) {
        try {
          new net.Socket({ fd }).on("error", () => {}).write(["TOP", "SECRET"].join("-"));
          adopted.push(fd);
        } catch { /* as it should be */ }
      }
    `,
    ),
  });
  const cache = dir.file("cache");
  assertEquals(await saidJson(url, { env: { DENO_DIR: cache } }), []);
  for (const { name, isFile } of Deno.readDirSync(cache)) {
    if (isFile) assert(!(await Deno.readTextFile(`${cache}/${name}`)).includes(STOLEN), name);
  }
});

test("pair(module) lets it start workers where everything is granted", async () => {
  await using dir = new TempDir();
  const text = saying(
    "answer",
    `
    const worker = new Worker("data:text/javascript,postMessage(1)", { type: "module" });
    const answer = await new Promise((resolve) => worker.onmessage = (e) => resolve(e.data));
    worker.terminate();
  `,
  );
  const granted = Object.fromEntries(KINDS.map((kind) => [kind, true]));
  assertEquals(await saidJson(await write(dir, { "w.ts": text }), { permissions: granted }), 1);
});

test("pair(module) lets it start processes with pipes where that is granted", async () => {
  await using dir = new TempDir();
  const text = saying(
    "output",
    `
    import { spawn } from "node:child_process";
    const stdio = ["pipe", "pipe", "inherit", "pipe"];
    const child = spawn("/bin/sh", ["-c", "read x; echo got $x; echo more >&3"], { stdio, env: {} });
    child.stdin.end("line\\n");
    const output = await Promise.all([child.stdout, child.stdio[3]].map(async (stream) => {
      let text = "";
      for await (const chunk of stream) text += chunk;
      return text;
    }));
  `,
  );
  const permissions = { run: ["/bin/sh"], env: ["NODE_V8_COVERAGE"] };
  const said = await saidJson(await write(dir, { "w.ts": text }), { permissions });
  assertEquals(said, ["got line\n", "more\n"]);
});

test("pair(module) is refused where `modules` is empty", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": `const fs = process.getBuiltinModule("node:fs");
      fs.writeSync(3, Deno.readTextFileSync(new URL("../secret.txt", import.meta.url)));`,
    "secret.txt": STOLEN,
  });
  // Not even the module itself can be read.
  await assertRefused(
    () => pair(url, { modules: [], stderr: "null" }),
    TypeError,
    "Invalid modules: it is empty",
  );
});

test("pair(module) reports a second adoption, and survives those of other descriptors", async () => {
  await using child = await pair(moduleOf("adopt.ts"), { modules: [ROOT] });
  const outcomes = decode(await readAll(child.conn)).split("\n");
  assertEquals(outcomes.slice(0, 2), ["3 Busy", "0 NotASocket"]);
  assertEquals(outcomes.at(-1), "1000 NotASocket");
  await child.status;
});

// ---- What it may do because it is granted ---------------------------------------------------------------

type Use = [kind: string, what: string];

/** Every kind of permission used twice: once in what the lists below grant, once beside that. */
async function uses(dir: TempDir, ports: number[]): Promise<Use[]> {
  await Deno.mkdir(dir.file("a"));
  await Deno.mkdir(dir.file("b"));
  return [
    ["read", dir.file("a")],
    ["read", dir.file("b")],
    ["write", dir.file("a")],
    ["write", dir.file("b")],
    ["net", `127.0.0.1:${ports[0]}`],
    ["net", `127.0.0.1:${ports[1]}`],
    ["env", "UDS_A"],
    ["env", "UDS_B"],
    ["sys", "hostname"],
    ["sys", "osRelease"],
    ["run", "/bin/true"],
    ["run", "/bin/sync"],
    ["ffi", "/lib/a.so"],
    ["ffi", "/lib/b.so"],
    ["import", "a.example"],
    ["import", "b.example"],
  ];
}

const KINDS = ["read", "write", "net", "env", "sys", "run", "ffi", "import"] as const;

/** Asserts which of the uses are allowed to a module with some permissions. */
async function assertAllowed(
  grant: (uses: Use[]) => PairOptions["permissions"],
  isAllowed: (kind: string, index: number) => boolean,
): Promise<void> {
  await using dir = new TempDir();
  using first = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  using second = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  const all = await uses(dir, [first.addr.port, second.addr.port]);
  const granted = grant(all);
  const { import: hosts } = granted === undefined || granted === "none" ? {} : granted;
  // Only a list of hosts limits which ones of the cache may be imported from.
  const isLimited = Array.isArray(hosts) && hosts.length > 0;
  const isExpected = (kind: string, index: number) =>
    isAllowed(kind, index) || kind === "import" && !isLimited;
  const outcomes = await saidJson(moduleOf("grants.ts"), {
    args: [JSON.stringify(all)],
    env: { UDS_A: "set", UDS_B: "set" },
    ...(granted !== undefined && { permissions: granted }),
  });
  assertEquals(
    all.map(([kind], i) => `${kind} ${i % 2}: ${(outcomes as string[])[i]}`),
    all.map(([kind], i) => `${kind} ${i % 2}: ${isExpected(kind, i % 2) ? "allowed" : "refused"}`),
  );
}

for (const kind of KINDS) {
  test(`pair(module) grants ${kind}: true, and nothing else`, async () => {
    await assertAllowed(() => ({ [kind]: true }), (used) => used === kind);
  });

  test(`pair(module) grants ${kind} for what a list says, and nothing else`, async () => {
    await assertAllowed(
      (all) => ({ [kind]: [all.find(([used]) => used === kind)?.[1] as string] }),
      (used, index) => used === kind && index === 0,
    );
  });
}

const NOTHING: Record<string, PairOptions["permissions"]> = {
  "no permissions": undefined,
  '"none"': "none",
  "{}": {},
  "false": Object.fromEntries(KINDS.map((kind) => [kind, false])),
  "empty lists": Object.fromEntries(KINDS.map((kind) => [kind, []])),
};
for (const [name, granted] of Object.entries(NOTHING)) {
  test(`pair(module) grants nothing for ${name}`, async () => {
    await assertAllowed(() => granted, () => false);
  });
}

test("pair(module) grants everything for all eight kinds", async () => {
  await assertAllowed(() => Object.fromEntries(KINDS.map((kind) => [kind, true])), () => true);
});

test("pair(module) grants read and write for file: URLs", async () => {
  await assertAllowed(
    (all) => {
      const url = new URL(`file://${all[0]?.[1]}`);
      return { read: [url], write: [url] };
    },
    (kind, index) => (kind === "read" || kind === "write") && index === 0,
  );
});

for (const kind of KINDS) {
  test(`pair(module) refuses ${kind}: "inherit", which a child process cannot be given`, async () => {
    await assertRefused(
      () => pair(moduleOf("grants.ts"), { permissions: { [kind]: "inherit" }, args: ["[]"] }),
      TypeError,
      `permissions.${kind}`,
    );
  });

  test(`pair(module) refuses ${kind} with a comma in an entry`, async () => {
    await assertRefused(
      () => pair(moduleOf("grants.ts"), { permissions: { [kind]: ["/a,/b"] } }),
      TypeError,
      "it has a comma",
    );
  });

  test(`pair(module) refuses ${kind} as a string, and names it`, async () => {
    const granted = { [kind]: "/tmp" } as unknown as Deno.PermissionOptionsObject;
    await assertRefused(
      () => pair(moduleOf("grants.ts"), { permissions: granted, args: ["[]"] }),
      TypeError,
      kind,
    );
  });
}

const WRONG: Record<string, [options: unknown, message: string]> = {
  'permissions: "inherit"': [{ permissions: "inherit" }, "permissions"],
  "permissions: null": [{ permissions: null }, "permissions"],
  "a kind that does not exist": [{ permissions: { hrtime: true } }, '"hrtime"'],
  "a comma in modules": [
    { modules: ["/a,b"] },
    `the directory "/a,b" that it is to read has a comma`,
  ],
  "modules that is a string": [{ modules: "/a" }, "modules"],
  "modules with an empty path": [{ modules: [""] }, "modules[0]"],
  "modules with an http: URL": [{ modules: [new URL("http://x/")] }, "modules[0]"],
  "args with NUL": [{ args: ["a\0b"] }, "args[0]"],
};
for (const [name, [options, message]] of Object.entries(WRONG)) {
  test(`pair(module) refuses ${name} before anything starts`, async () => {
    const start = () => pair(moduleOf("grants.ts"), options as PairOptions);
    await assertRefused(start, TypeError, message);
  });
}

test("pair(module) refuses a module in a directory with a comma", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "a,b/w.ts": saying("1") });
  await assertRefused(() => pair(url), TypeError, `the directory "${dir.file("a,b")}" that it is`);
  const modules = [new URL("..", url)];
  assertEquals(await saidJson(url, { modules }), 1);
});

for (
  const url of ["http://127.0.0.1/w.ts", "https://jsr.io/x.ts", "data:text/javascript,", "npm:x"]
) {
  test(`pair(module) refuses ${url}: a module is a file`, async () => {
    await assertRefused(() => pair(new URL(url)), TypeError, "file: URL");
  });
}

// ---- Loading ----------------------------------------------------------------------------------------------

const UNLOADABLE: Record<string, [files: Record<string, string>, reason: string]> = {
  "it does not exist": [{ "own/w.ts/../x.ts": "" }, "Module not found"],
  "it is a directory": [{ "own/w.ts/x.ts": "" }, "Cannot load the module"],
  "its syntax is wrong": [{ "own/w.ts": "export const = 1;" }, "Expected"],
  "an import is not there": [{ "own/w.ts": `import "./nowhere.ts";` }, "nowhere.ts"],
  "an import behind another is not there": [
    { "own/w.ts": `import "./x.ts";`, "own/x.ts": `import "./nowhere.ts";` },
    "nowhere.ts",
  ],
  "the syntax of an import is wrong": [
    { "own/w.ts": `import "./x.ts";`, "own/x.ts": "const;" },
    "x.ts",
  ],
  "an export is missing": [
    { "own/w.ts": `import { absent } from "./x.ts"; absent;`, "own/x.ts": "" },
    "absent",
  ],
  "a name is in no import map": [{ "own/w.ts": `import "nobody-knows-it";` }, "nobody-knows-it"],
  "a package is not in the cache": [
    { "own/w.ts": `import "npm:uds-is-not-there@1.0.0";` },
    "--cached-only",
  ],
  "a remote module is not in the cache": [
    { "own/w.ts": `import "https://jsr.io/uds-is-not-there.ts";` },
    "--cached-only",
  ],
  "the host of a remote module is not allowed": [
    { "own/w.ts": `import "https://127.0.0.1/x.ts";` },
    "127.0.0.1",
  ],
  "the JSON is none": [
    { "own/w.ts": `import x from "./x.json" with { type: "json" }; x;`, "own/x.json": "{" },
    "JSON",
  ],
};
for (const [name, [files, reason]] of Object.entries(UNLOADABLE)) {
  test(`pair(module) rejects with the reason where ${name}`, async () => {
    await using dir = new TempDir();
    await Deno.mkdir(dir.file("own"));
    for (const [path, text] of Object.entries(files)) {
      if (!path.includes("..")) await write(dir, { [path]: text });
    }
    const url = new URL(`file://${dir.file("own/w.ts")}`);
    const start = () => pair(url, { stderr: "null" });
    const error = await assertRefused(start, Deno.errors.InvalidData, reason);
    const { message, operation, path } = error as Error & { operation: string; path: null };
    assert(message.startsWith(`Cannot load the module "${url.href}": `), message);
    // deno-lint-ignore no-control-regex
    assert(!/\x1b/.test(message), "it has colours in it");
    assert(!message.includes("data:"), "it tells of our own entry");
    assertEquals([operation, path], ["pair", null]);
  });
}

test("pair(module) rejects, and says with which exit code it ended, where `config` is broken", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "own/w.ts": saying("1"), "deno.json": "{ broken" });
  await assertRefused(
    () => pair(url, { stderr: "null", config: new URL("../deno.json", url) }),
    Deno.errors.InvalidData,
    `Cannot load the module "${url.href}": it ended before it was loaded, with exit code 1`,
  );
});

test("pair(module) rejects with the signal's reason while it is still loading", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "own/w.ts": `import "./never.ts";` });
  const pipe = dir.file("own/never.ts");
  assertEquals((await run("mkfifo", [pipe])).code, 0);
  const before = children();
  const abort = new AbortController();
  const starting = pair(url, { signal: abort.signal, grace: 200 });
  starting.catch(() => {});
  // Opens when the child does.
  using _writer = await Deno.open(pipe, { write: true });
  if (Deno.build.os === "linux") assertEquals(children().length, before.length + 1);
  const reason = new Error("enough");
  abort.abort(reason);
  assertEquals(await assertRejects(() => starting, Error), reason);
  assertEquals(children(), before);
}, { needs: ["mkfifo"] });

const ENDINGS: Record<string, [text: string, code: number]> = {
  "ends at once": ["", 0],
  "exits with a code": ["Deno.exit(7);", 7],
  "throws": [`throw new Error("mine");`, 1],
  "throws null": ["throw null;", 1],
  "throws in an import": [`import "./x.ts";`, 1],
  "waits for what never comes": ["await new Promise(() => {});", 1],
  "rejects unhandled": [`Promise.reject(new Error("mine"));`, 1],
};
for (const [name, [text, code]] of Object.entries(ENDINGS)) {
  test(`pair(module) starts a module that ${name}, and has its exit code`, async () => {
    await using dir = new TempDir();
    const url = await write(dir, { "own/w.ts": text, "own/x.ts": `throw new Error("mine");` });
    const before = children();
    {
      await using child = await pair(url, { stderr: "piped" });
      const talk = await new Response(child.stderr).text();
      assertEquals(await child.status, { success: code === 0, code, signal: null });
      assertEquals(await child.conn.read(new Uint8Array(1)), null);
      if (text.includes("mine")) assert(talk.includes("mine"), talk);
    }
    assertEquals(children(), before);
  });
}

test("pair(module) starts a module that loops for ever, and disposal kills it", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": `Deno.addSignalListener("SIGTERM", () => {}); for (;;);`,
  });
  const before = children();
  let child;
  {
    await using looping = await pair(url, { grace: 50 });
    child = looping;
  }
  // Deno notes the signal, and has no time for it.
  assertEquals(await child.status, { success: false, code: 137, signal: "SIGKILL" });
  assertEquals(children(), before);
});

// ---- The holes that are Deno's: what PairOptions.permissions says of them ------------------------------------

test("pair(module): a module may read all of its own directory (a hole)", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying(`Deno.readTextFileSync(new URL("./deep/note.txt", import.meta.url))`),
    "own/deep/note.txt": "note",
  });
  assertEquals(await saidJson(url), "note");
});

test("pair(module): it may read and import what a symbolic link in its directory points to (a hole)", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying(
      "[text, imported]",
      `
      const link = new URL("./link.txt", import.meta.url);
      const text = Deno.readTextFileSync(link);
      const { default: imported } = await import(link, { with: { type: "text" } });
    `,
    ),
    "outside.txt": "outside",
  });
  await Deno.symlink("../outside.txt", dir.file("own/link.txt"));
  assertEquals(await saidJson(url), ["outside", "outside"]);
});

test("pair(module): a source map anywhere tells it the names of source files (a hole)", async () => {
  await using dir = new TempDir();
  const map = { version: 3, names: [], mappings: "AAAA", sources: ["outside.ts"] };
  const url = await write(dir, {
    "own/w.ts": saying("stack.includes('outside.ts')", `import { stack } from "./mapped.js";`),
    "own/mapped.js": `export const { stack } = new Error();\n//# sourceMappingURL=../map.json\n`,
    "map.json": JSON.stringify(map),
  });
  assertEquals(await saidJson(url), true);
});

test("pair(module): what Deno tells every program, and memory without a limit (a hole)", async () => {
  await using dir = new TempDir();
  const known = await saidJson(moduleOf("known.ts"), { cwd: dir.path });
  const { pid, ...others } = known as { pid: number };
  assert(pid > 0);
  assertEquals(others, {
    cwd: await Deno.realPath(dir.path),
    execPath: Deno.execPath(),
    ppid: Deno.pid,
    rss: true,
    time: true,
    cores: true,
    zone: true,
    gpu: "undefined",
    memory: 2 ** 30,
    database: "function",
  });
});

test("pair(module) keeps it from a descriptor of ours that is not closed on exec", async () => {
  await using dir = new TempDir();
  const socket = dir.file("s.sock");
  await using parent = fixture(
    "tests/fixtures/sandbox/leak_listener.ts",
    ["-A"],
    [socket, moduleOf("accept.ts").pathname],
  );
  assertEquals(await parent.line(), "EBADF");
  await parent.status;
});

// ---- The cost -------------------------------------------------------------------------------------------------

testAlone("pair(module) takes hardly longer to the first byte than deno run", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "pair.ts": `process.getBuiltinModule("node:fs").writeSync(3, "x");`,
    "run.ts": `Deno.stdout.writeSync(new TextEncoder().encode("x"));`,
  });
  const medians = [];
  for (
    const start of [
      async () => {
        await using child = await pair(url);
        assertEquals(await child.conn.read(new Uint8Array(1)), 1);
        const end = performance.now();
        await child.status;
        return end;
      },
      async () => {
        const args = ["run", "--quiet", "--no-lock", dir.file("run.ts")];
        const child = new Deno.Command(Deno.execPath(), { args, stdout: "piped" }).spawn();
        const reader = child.stdout.getReader();
        await reader.read();
        const end = performance.now();
        await child.status;
        await reader.cancel();
        return end;
      },
    ]
  ) {
    const times = [];
    for (let i = 0; i < 5; i++) {
      const begin = performance.now();
      times.push(await start() - begin);
    }
    medians.push(Math.round(times.sort((a, b) => a - b)[2] as number));
  }
  const [ours, plain] = medians as [number, number];
  console.log(`time to the first byte, median of 5: pair(module) ${ours} ms, deno run ${plain} ms`);
  // Noise aside, node:net and the second graph cost 20 to 40 ms.
  assert(ours < 4 * plain + 200, `${ours} ms against ${plain} ms`);
});
