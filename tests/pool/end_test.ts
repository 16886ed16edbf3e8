import { assert, assertEquals, assertMatch, assertRejects, assertThrows } from "@std/assert";
import { type Pool, pool, type PoolOptions } from "@uds/uds/pool";
import { json, lines } from "@uds/uds";
import { test, turn } from "../_helpers.ts";
import { children } from "../sandbox/_sandbox.ts";
import type { Tasks } from "../fixtures/pool/tasks.ts";
import { assertGone, assertInterrupted, IN_CLONE, moduleOf, started, tasks } from "./_pool.ts";

/** The moments of a pool with one child. */
const MOMENTS: Record<string, (pool: Pool<Tasks>) => Promise<unknown>> = {
  "before the first call": () => Promise.resolve(),
  "in the turn of the first call": (pool) => Promise.resolve(void pool.call("pid")),
  "while its child starts": async (pool) => {
    pool.call("pid");
    while (children().length === 0) await turn();
  },
  "after an answer": (pool) => pool.call("pid"),
  "while a call runs": async (pool) => {
    pool.call("spin", { ms: 300 });
    await pool.ready;
  },
  "after a call was canceled that goes on": async (pool) => {
    const abort = new AbortController();
    await started(pool, "hang", { signal: abort.signal });
    abort.abort();
  },
  "after its child has crashed": (pool) => pool.call("crash", { code: 1 }).catch(() => {}),
  "while its child is replaced": async (pool) => {
    await pool.call("crash", { code: 1 }).catch(() => {});
    pool.call("pid");
  },
};

for (const [moment, reach] of Object.entries(MOMENTS)) {
  test(`dispose ${moment} leaves no process`, async () => {
    const before = children();
    const pool = tasks({ size: 1, cancelGrace: 100 });
    await reach(pool);
    await pool[Symbol.asyncDispose]();
    assertEquals([pool.pids, pool.running, pool.waiting], [[], 0, 0]);
    assertEquals(children(), before);
  });

  test(`close() ${moment} leaves no process`, async () => {
    const before = children();
    const pool = tasks({ size: 1 });
    await reach(pool);
    pool.close();
    assertEquals(pool.waiting, 0);
    await assertRejects(() => pool.call("pid"), Deno.errors.BadResource, "the pool is closed");
    await pool[Symbol.asyncDispose]();
    assertEquals(children(), before);
  });
}

test("a child that cannot be connected to ends, and its call rejects with the reason", async () => {
  const before = children();
  const codec = json(lines());
  let isBroken = false;
  const broken = {
    ...codec,
    get maxBytes() {
      if (isBroken) throw new Error("the codec is broken");
      return codec.maxBytes;
    },
  };
  await using pool = tasks({ size: 1, codec: broken, maxRestartPause: 10 });
  isBroken = true;
  for (let i = 0; i < 3; i++) {
    await assertRejects(() => pool.call("pid"), Error, "the codec is broken");
    assertEquals(children(), before);
  }
  isBroken = false;
  assert(await pool.call("pid") !== Deno.pid);
});

test("close() interrupts a disposal that waits for a call", async () => {
  const pool = tasks({ size: 1 });
  const { pid, call } = await started(pool, "hang");
  const disposal = pool[Symbol.asyncDispose]();
  pool.close();
  await assertInterrupted(call, /the pool was closed before the answer/);
  await disposal;
  assertGone([pid]);
});

test("a call that is not awaited does not end the process when it rejects", async () => {
  const pool = tasks();
  void pool.call("pid");
  void pool.call("pid");
  pool.close();
  await pool[Symbol.asyncDispose]();
});

test("pool() names a wrong argument", () => {
  const module = moduleOf("tasks.ts");
  const wrong: [unknown, PoolOptions, RegExp][] = [
    ["./task.ts", {}, /^Invalid module: expected a file: URL, such as new URL\("\.\/task\.ts", /],
    [new URL("https://a.test/b.ts"), {}, /^Invalid module: .* got "https:\/\/a\.test\/b\.ts"$/],
    [module, { size: 0 }, /^Invalid size: expected a whole number of at least 1, got 0$/],
    [module, { size: 1.5 }, /^Invalid size/],
    [module, { maxConcurrent: 0 }, /^Invalid maxConcurrent/],
    [module, { maxQueued: -1 }, /^Invalid maxQueued/],
    [module, { timeout: 0 }, /^Invalid timeout/],
    [module, { cancelGrace: -1 }, /^Invalid cancelGrace/],
    [module, { maxRestartPause: NaN }, /^Invalid maxRestartPause/],
    [module, { idempotent: "pid" as never }, /^Invalid idempotent: expected an array of names/],
    [module, { methods: [] as never }, /^Invalid methods/],
    [module, { stdout: "piped" as never }, /^Invalid stdout: expected "inherit" or "null"/],
    [module, { modules: [] }, /^Invalid modules: it is empty/],
    [module, { permissions: "all" as never }, /^Invalid options of permissions of pair/],
    [module, { sizes: 1 } as never, /^Invalid option "sizes" of pool\(\): it has "size", /],
  ];
  for (const [url, options, message] of wrong) {
    const error = assertThrows(() => pool(url as URL, options), Error);
    assert(error instanceof TypeError || error instanceof RangeError);
    assertMatch(error.message, message);
  }
  assertThrows(() => (pool as (...args: unknown[]) => unknown)(module, {}, {}), TypeError, "third");
});

test("call() names a wrong argument, and onProgress needs one call at a time", async () => {
  const many = tasks({ maxConcurrent: 2 });
  const call = many.call as (...args: unknown[]) => Promise<unknown>;
  const onProgress = () => {};
  await assertRejects(() => call.call(many, 7), TypeError, "Invalid method");
  await assertRejects(() => call.call(many, "pid", 7), TypeError, "Invalid params");
  await assertRejects(() => call.call(many, "pid", {}, { timeout: 0 }), RangeError, "timeout");
  await assertRejects(() => call.call(many, "pid", {}, { time: 1 }), TypeError, '"time"');
  await assertRejects(() => call.call(many, "pid", {}, { onProgress }), TypeError, "onProgress");
  many.close();
});

test("a pool without permissions rejects with the flags to add", async () => {
  await using denied = pool(moduleOf("tasks.ts"), IN_CLONE);
  await assertRejects(() => denied.call("pid"), Deno.errors.NotCapable, "--allow-run");
}, { permissions: { run: false, read: true } });
