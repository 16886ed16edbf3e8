import { serve } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { onTerminal } from "../_cli.ts";
import { denoArgs, makeStale, Program, TempDir, test } from "../_helpers.ts";
import { leaveLock, lockContent } from "../_lock.ts";
import { greet, greetingAt, REPLACE } from "./_takeover.ts";

/** Leftovers that "replace" reclaims as "reclaim" does. */
const LEFT: Record<string, (path: string) => Promise<void> | void> = {
  "nothing": () => {},
  "a stale socket": makeStale,
  "a stale socket and the lock of a server that was published by rename": async (path) => {
    await makeStale(path);
    leaveLock(`${path}.lock`, 1, Deno.lstatSync(path).ino);
  },
  "what a successor left that was killed while it started": async (path) => {
    await makeStale(`${path}.new`);
    leaveLock(`${path}.lock.new`, 1, 5);
  },
};

for (const [what, make] of Object.entries(LEFT)) {
  test(`serve() with existing: "replace" starts after ${what}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await make(path);
    {
      await using _server = await serve({ path, ...REPLACE }, greet("hello"));
      assertEquals(await greetingAt(path), "hello");
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      const { ino } = Deno.lstatSync(path);
      assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid, ino));
    }
    assertEquals(dir.list(), []);
  });
}

test('serve() with existing: "fail" starts after a server that was killed while it started', async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await makeStale(`${path}.new`);
  await using server = await serve(
    { path, publish: "rename", existing: "fail" },
    greet("hello"),
  );
  assertEquals(await greetingAt(path), "hello");
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
  await server.shutdown();
  assertEquals(dir.list(), []);
});

test(
  "serve() never prompts on a terminal, also if it may read and write all of its directory",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(`${path}.old`);
    const flags = [
      `--allow-read=${dir.path}`,
      `--allow-write=${dir.path}`,
      `--allow-net=unix:${path},unix:${path}.new`,
    ];
    const deno = denoArgs("takeover_server.ts", flags, [path]).filter((arg) =>
      arg !== "--no-prompt"
    );
    const [command, ...args] = onTerminal([Deno.execPath(), ...deno]) as [string, ...string[]];
    await using server = new Program(command, args, { stdin: "piped" });
    assertEquals((await server.line()).trim(), "ready");
    assertEquals(dir.list(), ["a.sock", "a.sock.lock", "a.sock.old"]);
  },
  { needs: ["script"] },
);
