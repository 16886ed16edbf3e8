/**
 * # Native calls
 *
 * Each function of `@uds/uds/native` is called up to 100,000 times in one process, those that open
 * something less often. `UDS_CASES` sets the number.
 */

import { test } from "../_helpers.ts";
import { assertNothingLeft } from "../native/_calls.ts";

const CALLS = Number(Deno.env.get("UDS_CASES") ?? 100_000);

/**
 * Fault: A native function is called again and again, with failing calls among them
 * How: 100,000 times, and a collection of garbage before and after
 * Then: As many descriptors are open as before, and memory does not grow
 */
test(`every native call leaves no descriptor and no memory, ${CALLS} times`, async () => {
  for (const left of await assertNothingLeft(CALLS)) console.log(JSON.stringify(left));
}, { deadline: 600_000 });
