/** Runs random courses, several at once, because most of them wait. */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { openDescriptors, turn, within } from "../_helpers.ts";

const CASES = Number(Deno.env.get("UDS_CASES") ?? 300);
const SEED = Number(Deno.env.get("UDS_SEED") ?? Math.floor(Math.random() * 2 ** 31));

/** How many courses run at once. */
const LANES = 24;

/** How long, in milliseconds, a course may take before it counts as hanging. */
const COURSE_MS = 5000;

/**
 * Runs a course of each case. Fails if one does, if it leaves a rejection that nothing handles, or
 * if descriptors are left open.
 */
export async function runCourses<T>(
  courses: fc.Arbitrary<T>,
  run: (course: T) => Promise<void>,
): Promise<void> {
  const unhandled: unknown[] = [];
  const keep = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    unhandled.push(event.reason);
  };
  globalThis.addEventListener("unhandledrejection", keep);
  const before = openDescriptors();
  /** The lane that has failed. It goes on alone, to find a shorter course. */
  let failed: number | undefined;
  const lanes = Array.from({ length: LANES }, async (_, lane) => {
    const property = fc.asyncProperty(courses, async (course) => {
      if ((failed ?? lane) !== lane) return;
      try {
        await within(COURSE_MS, run(course));
        assertEquals(unhandled.splice(0), [], "a rejection was not handled");
      } catch (error) {
        failed ??= lane;
        throw error;
      }
    });
    await fc.assert(property, { numRuns: Math.ceil(CASES / LANES), seed: SEED + lane });
  });
  try {
    await Promise.allSettled(lanes);
    await Promise.all(lanes);
    // node:net closes a descriptor in a later turn.
    for (const start = performance.now(); performance.now() - start < COURSE_MS;) {
      await turn();
      if (openDescriptors() <= before) break;
    }
  } finally {
    globalThis.removeEventListener("unhandledrejection", keep);
  }
  assertEquals(unhandled, [], "a rejection was not handled after the last course");
  assert(openDescriptors() <= before, `${openDescriptors() - before} descriptors were left open`);
}

/** Chooses names as often as their weights say. */
export function weighted(weights: Record<string, number>): fc.Arbitrary<string> {
  const least = Math.min(...Object.values(weights));
  return fc.oneof(
    ...Object.entries(weights).map(([name, weight]) => ({
      arbitrary: fc.constant(name),
      weight: Math.round(weight / least),
    })),
  );
}
