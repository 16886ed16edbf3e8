import { pair, type PairOptions } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { decode, readAll, TempDir, test, testAlone } from "../_helpers.ts";
import { children, MODULE, shell, trapping } from "./_pair.ts";

test("pair() with a signal that was aborted before rejects with its reason, and starts nothing", async () => {
  await using dir = new TempDir();
  const reason = new Error("never mind");
  const before = children();
  const starting = shell(`: >'${dir.file("started")}'`, { signal: AbortSignal.abort(reason) });
  assertEquals(await assertRejects(() => starting, Error), reason);
  assertEquals(children(), before);
  assertEquals(dir.list(), []);
});

test("pair(): an abort at once after the call ends the child", async () => {
  const abort = new AbortController();
  const starting = shell("exec sleep 5", { signal: abort.signal });
  abort.abort();
  await using child = await starting;
  assertEquals((await child.status).signal, "SIGTERM");
});

for (const kind of ["a program", "a module"]) {
  test(`pair() of ${kind} takes its options, and the directory, as they are at the call`, async () => {
    await using dir = new TempDir();
    for (const name of ["a", "b"]) await Deno.mkdir(dir.file(name));
    const module = new URL(`file://${dir.file("w.ts")}`);
    await Deno.writeTextFile(
      module,
      `import fs from "node:fs";
       fs.writeSync(3, [Deno.args, Deno.cwd(), Deno.env.get("UDS_X")].join(" "));`,
    );
    const args = kind === "a module"
      ? ["1"]
      : ["-c", `printf '%s ' "$1" "$PWD" "$UDS_X" >&3`, "sh", "1"];
    const permissions = { env: ["UDS_X"] };
    const options: PairOptions = { args, cwd: dir.file("a"), env: { UDS_X: "x" } };
    if (kind === "a module") options.permissions = permissions;
    const before = Deno.cwd();
    const starting = pair(kind === "a module" ? module : "sh", options);
    args[args.length - 1] = "2";
    permissions.env = [];
    options.env!["UDS_X"] = "y";
    options.cwd = dir.file("b");
    Deno.chdir(dir.file("b"));
    try {
      await using child = await starting;
      assertEquals(decode(await readAll(child.conn)).trim(), `1 ${dir.file("a")} x`);
    } finally {
      Deno.chdir(before);
    }
  });
}

test("pair(): an abort while a module is loaded rejects with the reason, and leaves nothing", async () => {
  const processes = children();
  const abort = new AbortController();
  const starting = pair(MODULE, { signal: abort.signal });
  const reason = new Error("never mind");
  abort.abort(reason);
  assertEquals(await assertRejects(() => starting, Error), reason);
  assertEquals(children(), processes);
});

test("pair(): an abort sends SIGTERM, though the child would go on", async () => {
  const abort = new AbortController();
  await using child = await trapping("trap 'exit 7' TERM", { signal: abort.signal });
  abort.abort();
  assertEquals(await child.status, { success: false, code: 7, signal: null });
});

testAlone("pair(): an abort sends SIGKILL after grace if SIGTERM has no effect", async () => {
  const abort = new AbortController();
  await using child = await trapping("trap '' TERM", { signal: abort.signal, grace: 150 });
  const start = performance.now();
  abort.abort();
  assertEquals((await child.status).signal, "SIGKILL");
  const taken = performance.now() - start;
  assert(taken >= 145 && taken < 2000, `it took ${taken} ms`);
});

test("pair(): an abort after the child has ended does nothing", async () => {
  const abort = new AbortController();
  await using child = await shell("exit 3", { signal: abort.signal });
  assertEquals((await child.status).code, 3);
  abort.abort();
  assertEquals((await child.status).code, 3);
});
