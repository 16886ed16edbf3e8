import { pair } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { run, TempDir, test } from "../_helpers.ts";
import { assertRefused, children, saying, write } from "./_sandbox.ts";

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
  "a name is in no import map": [{ "own/w.ts": `import "mapped-nowhere";` }, "mapped-nowhere"],
  "a package is not in the cache": [
    { "own/w.ts": `import "npm:uds-is-not-there@1.0.0";` },
    '/own/w.ts", which fetches what it imports',
  ],
  "a remote module is not in the cache": [
    { "own/w.ts": `import "https://jsr.io/uds-is-not-there.ts";` },
    '/own/w.ts", which fetches what it imports',
  ],
  "the host of a remote module is not allowed": [
    { "own/w.ts": `import "https://127.0.0.1/x.ts";` },
    "127.0.0.1",
  ],
  "the JSON is malformed": [
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
    assert(!/\x1b/.test(message), "it has colors in it");
    assert(!message.includes("data:"), "it names our own entry");
    assertEquals([operation, path], ["pair", null]);
  });
}

for (const specifier of ["jsr:@uds-none/none", "npm:uds-no-such-package"]) {
  test(`pair(module) names the remedy where the cache lacks ${specifier}`, async () => {
    await using dir = new TempDir();
    const url = await write(dir, { "own/w.ts": `import "${specifier}";` });
    await assertRefused(
      () => pair(url, { stderr: "null" }),
      Deno.errors.InvalidData,
      `/own/w.ts", which fetches what it imports. If the "links" of a deno.json have it, ` +
        `pass config: new URL("./deno.json", import.meta.url)`,
    );
  });
}

test("pair(module) names the config that it got where the cache lacks an import", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": `import "absent";`,
    "deno.json": `{ "imports": { "absent": "npm:uds-is-not-there@1.0.0" } }`,
  });
  const config = new URL("../deno.json", url);
  const error = await assertRefused(
    () => pair(url, { stderr: "null", config }),
    Deno.errors.InvalidData,
    `. Run deno cache --config "${config.pathname}" "${url.pathname}", which fetches what it imports`,
  );
  assert(!(error as Error).message.includes("If the"), "it advises to pass config");
});

test("pair(module) rejects with the exit code of its process if `config` is broken", async () => {
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
  // Opening a fifo waits for the child.
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

test("pair(module) starts a module that loops without end, and disposal kills it", async () => {
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
  // Deno records SIGTERM, but the loop never returns to handle it.
  assertEquals(await child.status, { success: false, code: 137, signal: "SIGKILL" });
  assertEquals(children(), before);
});
