import { assert, assertEquals } from "@std/assert";
import { fixture, TempDir, test } from "../_helpers.ts";
import { moduleOf, saidJson, saying, write } from "./_sandbox.ts";

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

test("pair(module): a source map anywhere shows it the names of source files (a hole)", async () => {
  await using dir = new TempDir();
  const map = { version: 3, names: [], mappings: "AAAA", sources: ["outside.ts"] };
  const url = await write(dir, {
    "own/w.ts": saying("stack.includes('outside.ts')", `import { stack } from "./mapped.js";`),
    "own/mapped.js": `export const { stack } = new Error();\n//# sourceMappingURL=../map.json\n`,
    "map.json": JSON.stringify(map),
  });
  assertEquals(await saidJson(url), true);
});

test("pair(module): it has what Deno shows every program, and memory without a limit (a hole)", async () => {
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
