import { assert, assertEquals, assertRejects } from "@std/assert";
import { json, lines, MessageTooLarge, RpcError } from "@uds/uds";
import type { PoolOptions } from "@uds/uds/pool";
import { isPending, MIB, test } from "../_helpers.ts";
import { assertGone, assertInterrupted, started, tasks } from "./_pool.ts";

test("call() runs a method in a child, and resolves to its result", async () => {
  await using pool = tasks();
  assertEquals(await pool.call("echo", { value: ["ä", 1, null] }), ["ä", 1, null]);
  assert(await pool.call("pid") !== Deno.pid);
});

test("call() rejects with the error of the method, and the child stays", async () => {
  await using pool = tasks({ size: 1 });
  const error = await assertRejects(() => pool.call("fail"), RpcError, "it has failed");
  assertEquals([error.code, error.data, error.method], [7, { why: "on purpose" }, "fail"]);
  assertEquals(await pool.call("calls"), 1);
});

test("a rejection with a value without a text ends neither the child nor its other calls", async () => {
  await using pool = tasks({ size: 1, maxConcurrent: 2 });
  const [failed, pid] = await Promise.allSettled([pool.call("rejectTextless"), pool.call("pid")]);
  assert(failed.status === "rejected" && failed.reason instanceof RpcError);
  assertEquals(failed.reason.code, -32603);
  assert(pid.status === "fulfilled");
  assertEquals(await pool.call("pid"), pid.value);
});

test("a pool starts a child when a call needs one, and not more", async () => {
  await using pool = tasks({ size: 3 });
  assertEquals(pool.pids, []);
  for (let i = 1; i < 4; i++) assertEquals(await pool.call("calls"), i);
  assertEquals(pool.pids.length, 1);
  const first = await started(pool, "wait");
  const second = await started(pool, "wait");
  assertEquals(pool.pids, [first.pid, second.pid]);
  pool.close();
});

test("a pool has as many children as there are processors", async () => {
  await using pool = tasks();
  assertEquals(pool.size, navigator.hardwareConcurrency);
});

test("each child runs one call at a time, and calls that wait run in their order", async () => {
  await using pool = tasks({ size: 2 });
  const abort = new AbortController();
  const [a, b] = [
    await started(pool, "wait", { signal: abort.signal }),
    await started(pool, "wait"),
  ];
  assert(a.pid !== b.pid);
  const order: number[] = [];
  const calls = [1, 2, 3].map(async (n) => {
    const pid = await pool.call("pid");
    order.push(n);
    return pid;
  });
  assertEquals([pool.running, pool.waiting], [2, 3]);
  assert(await isPending(calls[0]!));
  abort.abort();
  assertEquals(await Promise.all(calls), [a.pid, a.pid, a.pid]);
  assertEquals(order, [1, 2, 3]);
  pool.close();
});

test("with maxConcurrent a child runs several calls, the least busy child first", async () => {
  await using pool = tasks({ size: 2, maxConcurrent: 2, idempotent: ["pid"] });
  // Both children have started when both have answered.
  while (pool.pids.length < 2) await Promise.all([pool.call("spin", { ms: 50 }), pool.call("pid")]);
  const waits = [1, 2, 3, 4].map(() => pool.call("wait", {}));
  assertEquals([pool.running, pool.waiting], [4, 0]);
  assertEquals(await isPending(pool.call("pid")), true);
  pool.close();
  for (const wait of waits) await assertInterrupted(wait, /the pool was closed/);
});

test("progress of a method goes to onProgress of its call, in order and before the result", async () => {
  await using pool = tasks({ size: 2 });
  const calls = [3, 5].map(async (count) => {
    const seen: number[] = [];
    const onProgress = ({ step }: { step: number }) => void seen.push(step);
    assertEquals(await pool.call("steps", { count }, { onProgress }), count);
    assertEquals(seen, [1, 2, 3, 4, 5].slice(0, count));
  });
  await Promise.all(calls);
});

test("children call the methods of the pool", async () => {
  await using pool = tasks({ methods: { double: ({ n }: { n: number }) => 2 * n } });
  assertEquals(await Promise.all([1, 2, 3].map((n) => pool.call("ask", { n }))), [2, 4, 6]);
});

test("a method of the pool is called on the object of the methods, by each child", async () => {
  const methods = {
    n: 0 as never,
    count(this: { n: number }): number {
      return ++this.n;
    },
  };
  await using pool = tasks({ size: 2, methods });
  const wait = await started(pool, "wait");
  const ask = () => pool.call("askFor", { method: "count" });
  assertEquals([await ask(), await ask()], [1, 2]);
  Deno.kill(wait.pid, "SIGKILL");
  await assertInterrupted(wait.call, /SIGKILL/);
  const other = await started(pool, "wait");
  assertEquals([await ask(), methods.n], [3, 3]);
  assert(other.pid !== wait.pid);
  pool.close();
  await assertInterrupted(other.call, /the pool was closed/);
});

test("a getter of the pool's methods runs when a child calls it, and what it throws is the answer", async () => {
  let gets = 0;
  const methods = {
    get bad(): never {
      gets++;
      throw new Error("getter");
    },
    double: ({ n }: { n: number }) => 2 * n,
  };
  await using pool = tasks({ size: 1, methods, onError() {} });
  assertEquals([await pool.call("ask", { n: 2 }), gets], [4, 0]);
  await assertRejects(() => pool.call("askFor", { method: "bad" }), RpcError, "getter");
  assertEquals([await pool.call("ask", { n: 3 }), gets], [6, 1]);
});

test("a progress of the pool's methods gets all progress, and onProgress is then refused", async () => {
  const seen: number[] = [];
  const methods: { progress?: (params: { step: number }) => void } = {
    progress: ({ step }) => void seen.push(step),
  };
  await using pool = tasks({ size: 1, methods: methods as PoolOptions["methods"] });
  assertEquals(await pool.call("steps", { count: 2 }), 2);
  assertEquals(seen, [1, 2]);
  const onProgress = ({ step }: { step: number }) => void seen.push(-step);
  await assertRejects(
    () => pool.call("steps", { count: 2 }, { onProgress }),
    TypeError,
    'Invalid onProgress: the methods of the pool have "progress"',
  );
  delete methods.progress;
  assertEquals(await pool.call("steps", { count: 2 }, { onProgress }), 2);
  assertEquals(seen, [1, 2, -1, -2]);
});

test(
  "a child gets as many calls as maxConcurrent allows, also more than rpc() does by default",
  async () => {
    const most = 65_540;
    await using pool = tasks({ size: 1, maxConcurrent: most });
    const pid = await pool.call("pid");
    const calls = Array.from({ length: most }, () => pool.call("pid"));
    assertEquals([pool.running, pool.waiting], [most, 0]);
    assertEquals(new Set(await Promise.all(calls)), new Set([pid]));
  },
  { deadline: 30_000 },
);

test("parameters and results of 16 MB pass, and larger ones reject and harm nothing", async () => {
  await using pool = tasks({ size: 1, codec: json(lines({ maxBytes: 20 * MIB })) });
  assertEquals(await pool.call("length", { text: "x".repeat(16e6) }), 16e6);
  assertEquals((await pool.call("text", { length: 16e6 })).length, 16e6);
  await assertRejects(() => pool.call("length", { text: "x".repeat(21 * MIB) }), MessageTooLarge);
  assertEquals(await pool.call("calls"), 1);
});

test("beyond maxQueued calls reject with Busy, and `ready` follows the pace of the children", async () => {
  await using pool = tasks({ size: 1, maxQueued: 1 });
  const calls = [pool.call("pid"), pool.call("pid")];
  await assertRejects(() => pool.call("pid"), Deno.errors.Busy, "1 calls wait for a child already");
  await Promise.all(calls);
  await pool.ready;
  const all = [];
  let most = 0;
  for (let i = 0; i < 100; i++) {
    await pool.ready;
    all.push(pool.call("calls"));
    most = Math.max(most, pool.waiting);
  }
  assertEquals(await Promise.all(all), all.map((_, i) => i + 1));
  assertEquals(most, 1);
});

test("dispose waits for the calls that run, rejects those that wait, and leaves no process", async () => {
  const pool = tasks({ size: 1 });
  const running = pool.call("spin", { ms: 300 });
  while (pool.running === 0) await pool.ready;
  const waiting = pool.call("pid");
  const { pids } = pool;
  await pool[Symbol.asyncDispose]();
  assertEquals(await running, pids[0]);
  await assertRejects(() => waiting, Deno.errors.BadResource, "the pool is closed");
  await assertRejects(() => pool.call("pid"), Deno.errors.BadResource, "the method has not run");
  assertGone(pids);
  await pool[Symbol.asyncDispose]();
});
