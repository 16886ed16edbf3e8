import { assert } from "@std/assert";
import { GrowingPauses } from "../../_internal/base/growing_pauses.ts";
import { test } from "../_helpers.ts";

/** Checks that the next pause is at most `longest` milliseconds, and at least half of that. */
function assertPause(pauses: GrowingPauses, longest: number): void {
  const pause = pauses.next();
  assert(pause <= longest && pause >= longest / 2, `${pause} of ${longest}`);
}

test("GrowingPauses double up to the last, and begin again after reset()", () => {
  const pauses = new GrowingPauses(2, 10);
  for (const longest of [2, 4, 8, 10, 10]) assertPause(pauses, longest);
  pauses.reset();
  for (const longest of [2, 4]) assertPause(pauses, longest);
});

test("GrowingPauses of several clients differ", () => {
  const pauses = Array.from({ length: 20 }, () => new GrowingPauses(100, 100).next());
  assert(new Set(pauses).size > 10, `${pauses}`);
});
