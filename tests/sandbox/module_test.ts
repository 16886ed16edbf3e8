import { pair, permissionFlags, permissions } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { decode, fixture, Program, readAll, ROOT, run, TempDir, test } from "../_helpers.ts";
import {
  answer,
  assertRefused,
  FIXTURES,
  KINDS,
  moduleOf,
  saidJson,
  saying,
  STOLEN,
  write,
} from "./_sandbox.ts";

test("pair(module) connects a module that uses node:net alone", async () => {
  await using child = await pair(moduleOf("net_echo.ts"));
  assertEquals(await answer(child, "ping"), "ping");
  assertEquals(await child.status, { success: true, code: 0, signal: null });
});

test("pair(module) connects a module that uses node:fs alone", async () => {
  await using child = await pair(moduleOf("sync_reply.ts"));
  assertEquals(await answer(child, "ping"), "got ping");
});

test("pair(module) allows it to import the package by its name from a project that it may read", async () => {
  await using child = await pair(moduleOf("package_echo.ts"), {
    modules: [ROOT],
    config: new URL("../../deno.json", import.meta.url),
  });
  assertEquals(await answer(child, "ping"), "ping");
});

test("pair(module) allows it to import the package by a path, with `modules` as a URL", async () => {
  await using child = await pair(moduleOf("relative_echo.ts"), {
    modules: [new URL("../..", import.meta.url)],
  });
  assertEquals(await answer(child, "ping"), "ping");
});

test("pair(module) allows it to import the package from Deno's cache, with no directory but its own", async () => {
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

test("pair(module) finds the cache of this process by HOME", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "own/w.ts": saying("1 as number") });
  await Deno.mkdir(dir.file("home"));
  await using parent = new Program(
    Deno.execPath(),
    // The modules of the program itself are in the cache of this process.
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

test("pair(module) allows it to import all of its own directory, statically and dynamically", async () => {
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

test("pair(module) uses the import map of `config`, and of no deno.json farther away", async () => {
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
  const refusal =
    'which it has no import map for. Import "jsr:…" or "npm:…" in full, or pass config';
  await assertRefused(() => pair(url), Deno.errors.InvalidData, refusal);
  await Deno.writeTextFile(config, `{ "imports": { "#/": "./deep/" } }`);
  const entry = `"mapped", which "${config.pathname}" has no entry for. Add one to its "imports"`;
  await assertRefused(() => pair(url, { config }), Deno.errors.InvalidData, entry);
});

test("pair(module) allows it to import from the directories of `modules`, and no others", async () => {
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

test("pair(module) runs a module with a space, a # and a letter outside ASCII in its path", async () => {
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

test("pair(module) passes it none of our variables, but those of `env`", async () => {
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

test("pair(module) runs with exactly its permissions()", async () => {
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
  // Compiling needs a download, so this simulates what a compiled program would find.
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
  assertMatch(stdout, /^true pair Cannot start "file:\/\/\/x\.ts": a compiled program has no Deno/);
  assert(stdout.endsWith("\n0\n"), stdout);
  assertEquals(Deno.build.standalone, false);
});

test("pair(module) allows it to start workers where everything is granted", async () => {
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

test("pair(module) allows it to start processes with pipes where that is granted", async () => {
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
