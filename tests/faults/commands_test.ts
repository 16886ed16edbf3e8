/**
 * # Commands and signals
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "@uds/uds";
import { FLAGS, onTerminal, Process, udsCommand } from "../_cli.ts";
import { decode, encode, readAll, readText, ROOT, TempDir, test } from "../_helpers.ts";

const ALL = [...FLAGS, "--allow-run", "--allow-env"];
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Fault: A command of `uds serve` ignores SIGTERM, and so does its child
 * How: Two programs that trap SIGTERM, until the deadline of the server
 * Then: All processes of the command are killed, and the server ends
 */
test("uds serve ends a command that ignores SIGTERM with all of its processes", async () => {
  await using dir = new TempDir();
  // The child of this script ignores SIGTERM as well, and shares the standard error of the server.
  const script = "trap '' TERM; echo $$; while :; do sleep 60; done";
  const command = udsCommand(["serve", dir.file("s"), "--", "sh", "-c", script], ALL);
  await using server = new Process(command);
  await using conn = await connect({ path: dir.file("s"), wait: true, timeout: Infinity });
  assertMatch(await readText(conn) ?? "", /^\d+\n$/);
  const start = performance.now();
  server.kill("SIGTERM");
  assertEquals((await server.ended).code, 0);
  assert(performance.now() - start < 12_000, "the deadline of 5 s, and 2 s until SIGKILL");
}, { deadline: 15_000 });

/**
 * Fault: `uds serve` is stopped during its start
 * How: SIGTERM after 0 to 300 ms
 * Then: No file is left behind
 */
test(
  "SIGTERM at any moment of the start of uds serve leaves no file, in 60 starts",
  async () => {
    await using dir = new TempDir();
    for (let ms = 0; ms < 300; ms += 5) {
      await using server = new Process(udsCommand(["serve", dir.file("s"), "--", "cat"], ALL));
      await pause(ms);
      server.kill("SIGTERM");
      const { code } = await server.ended;
      assert(code === 143 || code === 0, `exit code ${code}`);
      assertEquals(dir.list(), [], `after ${ms} ms`);
    }
  },
  { deadline: 60_000 },
);

/**
 * Fault: One Ctrl-C arrives twice
 * How: On a terminal, with `deno task` in between
 * Then: The client can finish
 */
test("the client of uds serve finishes after Ctrl-C under deno task, 10 times", async () => {
  await using dir = new TempDir();
  const line = udsCommand(["serve", dir.file("s"), "--", "cat"], ALL).map((word) => `'${word}'`);
  const tasks = { serve: line.join(" ") };
  await Deno.writeTextFile(dir.file("deno.json"), JSON.stringify({ tasks }));
  const task = [Deno.execPath(), "task", "--quiet", "--config", dir.file("deno.json"), "serve"];
  for (let i = 0; i < 10; i++) {
    await using terminal = new Process(onTerminal(task), { input: "open", cwd: ROOT });
    await using conn = await connect({ path: dir.file("s"), wait: true, timeout: 10_000 });
    await conn.write(encode("part one "));
    await readText(conn);
    await terminal.type("\x03");
    await terminal.stdout.until("ending");
    await pause(100);
    await conn.write(encode("part two"));
    await conn.closeWrite();
    assertEquals(decode(await readAll(conn)), "part two");
    await terminal.ended;
    assertEquals(dir.list(), ["deno.json"]);
  }
}, { deadline: 60_000, needs: ["script"] });

/**
 * Fault: `uds serve` runs under `timeout`
 * How: `timeout 4 uds serve`: SIGTERM reaches the process and its group
 * Then: The client can finish
 */
test("uds serve shuts down gracefully under timeout, which sends SIGTERM twice", async () => {
  await using dir = new TempDir();
  const command = udsCommand(["serve", dir.file("s"), "--", "cat"], ALL);
  await using server = new Process(["timeout", "--preserve-status", "4", ...command]);
  await using conn = await connect({ path: dir.file("s"), wait: true, timeout: Infinity });
  await conn.write(encode("part one "));
  await readText(conn);
  await server.stderr.until("ending");
  await pause(100);
  await conn.write(encode("part two"));
  await conn.closeWrite();
  assertEquals(decode(await readAll(conn)), "part two");
  assertEquals((await server.ended).code, 0);
  assertEquals(dir.list(), []);
}, { needs: ["timeout"] });
