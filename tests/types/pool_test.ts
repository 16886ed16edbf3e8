/**
 * The types of pools. The runner checks the types: each `@ts-expect-error` fails unless there is
 * one.
 */

import { assertEquals } from "@std/assert";
import { pool, type PoolOptions } from "@uds/uds/pool";
import { test } from "../_helpers.ts";
import type { Tasks } from "../fixtures/pool/tasks.ts";
import { IN_CLONE, moduleOf } from "../pool/_pool.ts";

test("a pool has the methods of its module, without a cast", async () => {
  await using tasks = pool<Tasks>(moduleOf("tasks.ts"), IN_CLONE);
  const length: number = await tasks.call("length", { text: "four" });
  const pid: number = await tasks.call("pid", undefined, { timeout: 60_000 });
  const onProgress = ({ step }: { step: number }) => void step;
  const count: number = await tasks.call("steps", { count: 1 }, { onProgress });
  assertEquals([length, pid > 0, count], [4, true, 1]);
});

test("a wrong method, parameter, result or option of a pool does not compile", async () => {
  const tasks = pool<Tasks>(moduleOf("tasks.ts"), IN_CLONE);
  tasks.close();
  const calls = [
    // @ts-expect-error: the module has no such method
    tasks.call("absent"),
    // @ts-expect-error: a parameter is missing
    tasks.call("length"),
    // @ts-expect-error: a parameter has another type
    tasks.call("length", { text: 4 }),
    // @ts-expect-error: calls have no such option
    tasks.call("pid", undefined, { time: 1 }),
    // @ts-expect-error: the result is a number
    tasks.call("length", { text: "" }) satisfies Promise<string>,
  ];
  assertEquals(
    (await Promise.allSettled(calls)).map(({ status }) => status),
    calls.map(() => "rejected"),
  );
  // @ts-expect-error: the module has no such method
  const options: PoolOptions<Tasks> = { idempotent: ["absent"] };
  assertEquals(options.idempotent!.length, 1);
});
