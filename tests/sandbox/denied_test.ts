import { pair, type PairOptions } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";
import { answer, assertRefused, said, saidJson, saying, STOLEN, write } from "./_sandbox.ts";

/**
 * Imports of files outside the module's directory. All are refused before the module runs.
 */
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
    const isFar = error.message.includes('imports "/etc/passwd"');
    const remedy = isFar
      ? `pass modules: [new URL(".", import.meta.url), "/etc"]`
      : `pass modules: [new URL(".", import.meta.url), new URL("../secret`;
    assert(error.message.includes(remedy), error.message);
    assert(!error.message.includes("--allow"), error.message);
  });
}

test("pair(module) names the directory of each, also further above, and they are the remedy", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "a/own/deep/w.ts": `import { lib } from "../../../b/lib.ts"; ${saying("lib")}`,
    "a/own.ts": "",
    "b/lib.ts": "export const lib = 1;",
  });
  const error = await assertRefused(
    () => pair(url),
    Deno.errors.InvalidData,
    `modules: [new URL(".", import.meta.url), new URL("../../../b", import.meta.url)]`,
  );
  assert(error.message.includes(`${dir.path}/b/lib.ts`), error.message);
  const modules = [new URL(".", url), new URL("../../../b", url)];
  assertEquals(await saidJson(url, { modules }), 1);
});

test("pair(module) does not read a file that an import map puts in the place of node:fs", async () => {
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
  // Either it runs without the secret, or it is not loaded.
  const config = new URL("deno.json", url);
  const outcome = await said(url, { config }).catch((error) => error.message);
  assert(!outcome.includes(STOLEN), outcome);
  assertMatch(outcome, /^undefined$|is not in a directory that it may import from/);
});

test("pair(module) quotes a line of it without control characters", async () => {
  await using dir = new TempDir();
  const url = await write(dir, { "w.ts": `let y = "\x1b]52;c;AAAA\x07\x9b2J\r\u202e" = 1;` });
  const error = await assertRefused(() => pair(url), Deno.errors.InvalidData, "let y = ");
  // deno-lint-ignore no-control-regex -- the test looks for them
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
    // The imports of one start, besides the module, are the names for the next one.
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
