import { assertEquals, assertThrows } from "@std/assert";
import { readText, test } from "../_helpers.ts";
import { shell, trapping } from "./_pair.ts";

for (
  const [name, script, status] of [
    ["exit code 0", "exit 0", { success: true, code: 0, signal: null }],
    ["exit code 3", "exit 3", { success: false, code: 3, signal: null }],
    ["exit code 143, and no signal", "exit 143", { success: false, code: 143, signal: null }],
    ["SIGKILL", "kill -KILL $$", { success: false, code: 137, signal: "SIGKILL" }],
    ["SIGTERM", "kill -TERM $$", { success: false, code: 143, signal: "SIGTERM" }],
    ["SIGINT", "kill -INT $$", { success: false, code: 130, signal: "SIGINT" }],
    ["SIGSEGV", "kill -SEGV $$", { success: false, code: 139, signal: "SIGSEGV" }],
  ] as [string, string, Deno.CommandStatus][]
) {
  test(`child.status reports a child's own ${name}`, async () => {
    await using child = await shell(script);
    assertEquals(await child.status, status);
    assertEquals(await child.status, status);
  });
}

for (
  const [signal, code] of [["SIGKILL", 137], ["SIGTERM", 143], ["SIGINT", 130], [
    "SIGUSR1",
    138,
  ]] as [
    Deno.Signal,
    number,
  ][]
) {
  test(`child.kill("${signal}") ends a child, and status reports it`, async () => {
    await using child = await trapping(":");
    child.kill(signal);
    assertEquals(await child.status, { success: false, code, signal });
  });
}

test("child.kill() sends SIGTERM", async () => {
  await using child = await trapping(":");
  child.kill();
  assertEquals((await child.status).signal, "SIGTERM");
});

test("child.kill() of a child that traps it and exits: status has its own exit code", async () => {
  await using child = await trapping("trap 'exit 7' TERM");
  child.kill("SIGTERM");
  assertEquals(await child.status, { success: false, code: 7, signal: null });
});

test("child.kill() of a child that traps it and exits with 0: status is a success", async () => {
  await using child = await trapping("trap 'exit 0' INT");
  child.kill("SIGINT");
  assertEquals(await child.status, { success: true, code: 0, signal: null });
});

test("child.kill() can be called repeatedly: a trapped SIGTERM, twice, and then SIGKILL", async () => {
  await using child = await trapping("trap 'echo again >&3' TERM");
  for (let i = 0; i < 2; i++) {
    child.kill("SIGTERM");
    assertEquals(await readText(child.conn), "again\n");
  }
  child.kill("SIGKILL");
  assertEquals(await child.status, { success: false, code: 137, signal: "SIGKILL" });
});

test("child.kill() does nothing once the child has ended", async () => {
  await using child = await shell("exit 3");
  const status = await child.status;
  for (const signal of ["SIGTERM", "SIGKILL"] as const) child.kill(signal);
  child.kill();
  assertEquals(await child.status, status);
});

test("child.kill() at once after the start ends the child", async () => {
  await using child = await shell("exec sleep 5");
  child.kill("SIGKILL");
  assertEquals((await child.status).signal, "SIGKILL");
});

test("child.kill() of an unknown signal is a TypeError also once the child has ended", async () => {
  await using child = await shell("exit 3");
  await child.status;
  assertThrows(() => child.kill("SIGFOO" as never), TypeError, 'got "SIGFOO"');
});

test("child.kill() of an unknown signal is a TypeError, and the child lives on", async () => {
  await using child = await trapping("trap 'exit 7' TERM");
  assertThrows(() => child.kill("SIGFOO" as never), TypeError, "SIGFOO");
  child.kill();
  assertEquals((await child.status).code, 7);
});
