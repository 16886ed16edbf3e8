/** Makes every call of the native API again and again, in a process of its own. */

import { assert, assertEquals } from "@std/assert";
import type { Left } from "../fixtures/native_calls.ts";
import { fixture, KIB, MIB } from "../_helpers.ts";

/** What V8 keeps for itself, such as compiled code, and what a call may leave at most. */
const KEPT_BYTES = 256 * KIB;
const LEFT_BYTES = 8;
/** How much all memory may grow: the allocator keeps what was used at once. */
const RESIDENT_BYTES = 64 * MIB;

/** Asserts that no call leaves a descriptor or memory. Returns what each one left. */
export async function assertNothingLeft(calls: number): Promise<Left[]> {
  await using program = fixture("native_calls.ts", ["-A", "--v8-flags=--expose-gc"], [`${calls}`]);
  const all: Left[] = (await program.output()).map((line) => JSON.parse(line));
  assertEquals(await program.stderr(), "");
  for (const left of all) {
    const shown = JSON.stringify(left);
    assertEquals(left.descriptors, 0, shown);
    assert(left.heap < KEPT_BYTES + LEFT_BYTES * left.calls, shown);
    assert(left.resident < RESIDENT_BYTES, shown);
  }
  assert(all.length > 15, `only ${all.length} calls`);
  return all;
}
