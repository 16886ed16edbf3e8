import { assert, assertEquals, assertRejects } from "@std/assert";
import { isPending, test } from "../_helpers.ts";
import { assertGone, assertInterrupted, started, tasks } from "./_pool.ts";

const REASON = new Error("not wanted any more");

test("an aborted signal rejects a call before it is made, and starts no child", async () => {
  await using pool = tasks();
  const signal = AbortSignal.abort(REASON);
  const error = await assertRejects(() => pool.call("pid", undefined, { signal }), Error);
  assertEquals(error, REASON);
  assertEquals([pool.pids, pool.running, pool.waiting], [[], 0, 0]);
});

test("an abort while the first child starts rejects at once, and the next call runs", async () => {
  await using pool = tasks({ size: 1 });
  const abort = new AbortController();
  const call = pool.call("calls", undefined, { signal: abort.signal });
  const next = pool.call("calls");
  abort.abort(REASON);
  assertEquals(await assertRejects(() => call, Error), REASON);
  assertEquals(pool.waiting, 1);
  assertEquals(await next, 1);
});

test("an abort of a call that waits takes it out of the queue", async () => {
  await using pool = tasks({ size: 1 });
  const stop = new AbortController();
  const { call } = await started(pool, "wait", { signal: stop.signal });
  const abort = new AbortController();
  const canceled = pool.call("calls", undefined, { signal: abort.signal });
  const next = pool.call("calls");
  abort.abort(REASON);
  assertEquals(await assertRejects(() => canceled, Error), REASON);
  assertEquals([pool.running, pool.waiting], [1, 1]);
  stop.abort(REASON);
  await assertRejects(() => call, Error, REASON.message);
  assertEquals(await next, 1);
});

test("an abort of a call that runs aborts the signal of its method, and the child stays", async () => {
  await using pool = tasks({ size: 1 });
  const abort = new AbortController();
  const { pid, call } = await started(pool, "wait", { signal: abort.signal });
  abort.abort(REASON);
  assertEquals(await assertRejects(() => call, Error), REASON);
  assertEquals(await pool.call("pid"), pid);
});

test("a child that does not heed the abort is killed after cancelGrace, and replaced", async () => {
  await using pool = tasks({ size: 1, cancelGrace: 100 });
  const abort = new AbortController();
  const { pid, call } = await started(pool, "hang", { signal: abort.signal });
  const next = pool.call("pid");
  abort.abort(REASON);
  assertEquals(await assertRejects(() => call, Error), REASON);
  assertEquals(pool.running, 1);
  assert(await next !== pid);
  assertGone([pid]);
});

test("a child keeps its place until the method ends, and cancelGrace bounds that", async () => {
  await using pool = tasks({ size: 1, cancelGrace: 60_000 });
  const abort = new AbortController();
  const { pid, call } = await started(pool, "hang", { signal: abort.signal });
  abort.abort(REASON);
  assertEquals(await assertRejects(() => call, Error), REASON);
  assertEquals([pool.running, pool.pids], [1, [pid]]);
  assert(await isPending(pool.call("pid")));
  pool.close();
});

test("an abort after the answer changes nothing", async () => {
  await using pool = tasks({ size: 1, cancelGrace: 0 });
  const abort = new AbortController();
  const first = await pool.call("pid", undefined, { signal: abort.signal });
  abort.abort(REASON);
  assertEquals(await pool.call("pid"), first);
});

test("a timeout counts the time that a call waits, and says where it was", async () => {
  await using pool = tasks({ size: 1, cancelGrace: 100 });
  const { call } = await started(pool, "hang", { timeout: 4000 });
  const late = pool.call("pid", undefined, { timeout: 50 });
  const waited = await assertRejects(
    () => late,
    Deno.errors.TimedOut,
    "it still waited for a child",
  );
  assert(waited.message.startsWith('Cannot call "pid": no answer came within 50 ms'));
  await assertRejects(() => call, Deno.errors.TimedOut, "its method was running");
}, { deadline: 20_000 });

test("the timeout of the pool is that of its calls", async () => {
  await using pool = tasks({ size: 1, timeout: 3000, cancelGrace: 0 });
  await assertRejects(() => pool.call("hang", {}), Deno.errors.TimedOut, "within 3000 ms");
});

test("with maxConcurrent, a child that is killed interrupts its other calls", async () => {
  await using pool = tasks({ size: 1, maxConcurrent: 2, cancelGrace: 0 });
  await pool.call("pid");
  const abort = new AbortController();
  const canceled = pool.call("spin", { ms: 60_000 }, { signal: abort.signal });
  const other = pool.call("pid");
  abort.abort(REASON);
  assertEquals(await assertRejects(() => canceled, Error), REASON);
  await assertInterrupted(other, /was ended by SIGKILL/);
});

test("aborts at random moments leave every call settled, and the pool usable", async () => {
  await using pool = tasks({ size: 2, cancelGrace: 50 });
  await pool.call("pid");
  const calls = Array.from({ length: 200 }, (_, i) => {
    const signal = AbortSignal.timeout(i * 5);
    const method = i % 20 === 0 ? "hang" : i % 3 === 0 ? "wait" : "pid";
    return pool.call(method, {} as never, { signal });
  });
  for (const result of await Promise.allSettled(calls)) {
    if (result.status === "rejected") assertEquals(result.reason.name, "TimeoutError");
  }
  assert(await pool.call("pid") > 0);
  assertEquals(pool.waiting, 0);
}, { deadline: 30_000 });

test(
  "an abort of 20,000 calls that wait with one signal does not compare each with all others",
  async () => {
    await using pool = tasks({ size: 1 });
    const abort = new AbortController();
    const begin = performance.now();
    const calls = Array.from(
      { length: 20_000 },
      () => pool.call("pid", undefined, { signal: abort.signal }),
    );
    abort.abort(REASON);
    for (const result of await Promise.allSettled(calls)) assertEquals(result.status, "rejected");
    assertEquals(pool.waiting, 0);
    // It was 25 s, and is less than one.
    const ms = performance.now() - begin;
    assert(ms < 8000, `${ms} ms`);
  },
  { deadline: 60_000 },
);

test("calls that were given up while they waited leave the others in their order", async () => {
  await using pool = tasks({ size: 1 });
  for (const every of [2, 3, 10]) {
    const before = await pool.call("calls");
    const stop = new AbortController();
    const { call } = await started(pool, "wait", { signal: stop.signal });
    const abort = new AbortController();
    const calls = Array.from(
      { length: 60 },
      (_, i) => pool.call("calls", undefined, i % every ? { signal: abort.signal } : {}),
    );
    abort.abort(REASON);
    assertEquals(pool.waiting, 60 / every);
    stop.abort(REASON);
    await assertRejects(() => call, Error, REASON.message);
    const results = (await Promise.allSettled(calls)).filter(({ status }) =>
      status === "fulfilled"
    ) as PromiseFulfilledResult<number>[];
    const numbers = results.map(({ value }) => value - before);
    assertEquals(numbers, numbers.map((_, i) => numbers[0]! + i));
    assertEquals(numbers.length, 60 / every);
  }
});
