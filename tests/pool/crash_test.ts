import { assert, assertEquals, assertRejects } from "@std/assert";
import { pool } from "@uds/uds/pool";
import { TempDir, test, testAlone, turn, within } from "../_helpers.ts";
import { assertGone, assertInterrupted, IN_CLONE, moduleOf, started, tasks } from "./_pool.ts";

test("a call rejects with the exit code of its child, which is replaced", async () => {
  await using pool = tasks({ size: 1 });
  const before = await pool.call("pid");
  const message = new RegExp(
    `^Cannot call "crash": the child process ${before} exited with code 7 before the answer. ` +
      "The method may have run$",
  );
  const error = await assertInterrupted(pool.call("crash", { code: 7 }), message, { code: 7 });
  assertEquals([error.method, error.sent], ["crash", true]);
  assert(await pool.call("pid") !== before);
  assertGone([before]);
});

test("a call rejects with the signal that killed its child; the calls that wait go on", async () => {
  await using pool = tasks({ size: 1 });
  const { pid, call } = await started(pool, "hang");
  const next = [pool.call("calls"), pool.call("calls")];
  Deno.kill(pid, "SIGKILL");
  await assertInterrupted(call, /was ended by SIGKILL before the answer/, { signal: "SIGKILL" });
  assertEquals(await Promise.all(next), [1, 2]);
});

test("an idle child that is killed is replaced when a call comes, and the call is not lost", async () => {
  await using pool = tasks({ size: 1, idempotent: ["pid"] });
  const first = await pool.call("pid");
  Deno.kill(first, "SIGKILL");
  const second = await pool.call("pid");
  assert(first !== second);
});

test("a call that is idempotent runs again in another child", async () => {
  await using pool = tasks({ size: 1, idempotent: ["hangIn"] });
  const first = await pool.call("pid");
  const kill = ({ pid }: { pid: number }) => pid === first && Deno.kill(pid, "SIGKILL");
  const second = await pool.call("hangIn", { pid: first }, { onProgress: kill });
  assert(second !== first);
  assertEquals(pool.pids, [second]);
});

test("an idempotent call ends three children at most", async () => {
  await using pool = tasks({ size: 2 });
  const call = pool.call("crash", { code: 7 }, { idempotent: true });
  await assertInterrupted(call, /exited with code 7 .* It is the last of 3 that have ended so$/);
  assertEquals(await pool.call("calls"), 1);
});

test("a child that exits with code 0 rejects with what the module lacks", async () => {
  await using silent = pool(moduleOf("silent.ts"));
  await assertInterrupted(silent.call("any"), /code 0 .*Keep it running with rpc\(inherited\(\)/);
});

for (
  const [name, message] of [
    ["broken.ts", "is not in a directory that it may import from"],
    ["absent.ts", "Module not found"],
  ] as const
) {
  test(`a module that cannot be loaded rejects all calls with the reason: ${name}`, async () => {
    await using broken = pool(moduleOf(name), { size: 2 });
    const calls = [1, 2, 3, 4].map(() => broken.call("any"));
    for (const call of calls) {
      const error = await assertRejects(() => call, Deno.errors.InvalidData, message);
      assert(error.message.startsWith('Cannot call "any": cannot load the module "file:///'));
    }
    await assertRejects(() => broken.call("any"), Deno.errors.InvalidData, message);
    assertEquals(broken.pids, []);
  });
}

test("a module with a syntax error rejects, and runs once it is mended", async () => {
  await using dir = new TempDir();
  const file = dir.file("task.ts");
  await Deno.writeTextFile(file, "let 1;");
  const options = { ...IN_CLONE, modules: [...IN_CLONE.modules!, dir.path] };
  await using mended = pool(new URL(`file://${file}`), options);
  await assertRejects(() => mended.call("one"), Deno.errors.InvalidData, "SyntaxError");
  await Deno.writeTextFile(
    file,
    `import { inherited } from "@uds/uds";
     import { rpc } from "@uds/uds/rpc"; rpc(inherited(), { methods: { one: () => 1 } });`,
  );
  assertEquals(await mended.call("one"), 1);
});

test("a child that is out of memory rejects its call, and is replaced", async () => {
  await using small = tasks({
    size: 1,
    env: { DENO_V8_FLAGS: "--max-old-space-size=40" },
    stderr: "null",
  });
  await assertInterrupted(small.call("fill"), /was ended by SIG|exited with code/);
  assertEquals(await small.call("calls"), 1);
}, { deadline: 30_000 });

test("a child that is stopped is killed after the timeout of its call", async () => {
  await using pool = tasks({ size: 1, cancelGrace: 50 });
  const first = await pool.call("pid");
  Deno.kill(first, "SIGSTOP");
  await assertRejects(() => pool.call("pid", undefined, { timeout: 100 }), Deno.errors.TimedOut);
  assert(await pool.call("pid") !== first);
  assertGone([first]);
});

test("children that are killed at random moments lose no idempotent call", async () => {
  await using pool = tasks({ size: 2, idempotent: ["echo"], maxRestartPause: 5 });
  let left = 2000;
  let killed = 0;
  const calls = Array.from({ length: left }, async (_, value) => {
    assertEquals(await pool.call("echo", { value }), value);
    left--;
  });
  while (left > 0) {
    await turn();
    const [pid] = pool.pids;
    if (pid === undefined || killed === 10 || left > 2000 - 150 * killed) continue;
    Deno.kill(pid, "SIGKILL");
    killed++;
  }
  await Promise.all(calls);
  assertEquals(killed, 10);
}, { deadline: 30_000 });

testAlone("a flood of crashes does not spin: few children start, in growing pauses", async () => {
  await using pool = tasks({ size: 2 });
  const signal = AbortSignal.timeout(5000);
  const children = new Set<string>();
  const crash = async () => {
    while (!signal.aborted) {
      const error: Error = await pool.call("crash", { code: 1 }, { signal }).catch((e) => e);
      const [, pid] = /child process (\d+)/.exec(error.message) ?? [];
      if (pid !== undefined) children.add(pid);
    }
  };
  await within(20_000, Promise.all(Array.from({ length: 20 }, crash)));
  // 10, 20, … 640, 1000, 1000, 1000 ms, each shortened by up to a half; and what had started.
  assert(children.size <= 18, `${children.size} children`);
});

testAlone("calls to a module that ends at once do not spin", async () => {
  await using ending = pool(moduleOf("ends.ts"), { size: 2 });
  const calls = Array.from({ length: 5 }, () => ending.call("any"));
  for (const call of calls) await assertInterrupted(call, /exited with code 5/, { code: 5 });
});
