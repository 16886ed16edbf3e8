/** What the tests of `pool` share. */

import { CallInterrupted } from "@uds/uds";
import { type Pool, pool, type PoolOptions } from "@uds/uds/pool";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { ROOT_URL } from "../_helpers.ts";
import type { Tasks } from "../fixtures/pool/tasks.ts";

/** What a module of this clone needs. */
export const IN_CLONE: Pick<PoolOptions, "modules" | "config"> = {
  modules: [new URL(ROOT_URL)],
  config: new URL(`${ROOT_URL}deno.json`),
};

/** Returns the URL of a module of the fixtures. */
export function moduleOf(name: string): URL {
  return new URL(`../fixtures/pool/${name}`, import.meta.url);
}

/** Returns a pool of the tasks of the fixtures. */
export function tasks(options: PoolOptions<Tasks> = {}): Pool<Tasks> {
  return pool<Tasks>(moduleOf("tasks.ts"), { ...IN_CLONE, ...options });
}

/** Runs a call until its method has started. */
export async function started(
  on: Pool<Tasks>,
  method: "wait" | "hang",
  options: { signal?: AbortSignal; timeout?: number; idempotent?: boolean } = {},
): Promise<{ pid: number; call: Promise<unknown> }> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const call = on.call(method, {}, {
    ...options,
    onProgress: ({ pid }: { pid: number }) => resolve(pid),
  });
  call.catch(reject);
  return { pid: await promise, call };
}

/** Asserts that a call was interrupted by the end of its child. */
export async function assertInterrupted(
  call: Promise<unknown>,
  message: RegExp,
  status?: Partial<Deno.CommandStatus>,
): Promise<CallInterrupted> {
  const error = await assertRejects(() => call, CallInterrupted);
  assertMatch(error.message, message);
  assertEquals([error.operation, error.path], ["call", null]);
  if (status !== undefined) assertEquals({ ...error.status, ...status }, error.status);
  return error;
}

/** Asserts that none of the processes exists. */
export function assertGone(pids: number[]): void {
  for (const pid of pids) {
    // Signal 0 is not one of Deno's. SIGCONT does nothing to a process that runs.
    let isThere = true;
    try {
      Deno.kill(pid, "SIGCONT");
    } catch {
      isThere = false;
    }
    assert(!isThere, `process ${pid} still runs`);
  }
}
