/**
 * # Time
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { ROOT, run, test } from "../_helpers.ts";

/** How many minutes the soak takes. */
const MINUTES = Number(Deno.env.get("UDS_SOAK_MINUTES") ?? 1);

/**
 * Fault: Connects, messages, half-closes, resets, refusals, pairs and restarts in large numbers
 * How: `deno task soak --minutes 1`
 * Then: Descriptors and children are as at the beginning at every rest. The line fitted
 * through memory does not rise. Both sides have the same counts
 */
test(
  "a soak of connects, messages, resets, pairs and restarts: nothing grows, counts are exact",
  async () => {
    const config = ["--config", `${ROOT}/deno.json`, "--no-lock"];
    const args = ["run", "--quiet", "-A", "--v8-flags=--expose-gc", ...config];
    const { code, stdout, stderr } = await run(
      Deno.execPath(),
      [...args, `${ROOT}/tools/soak.ts`, "--minutes", `${MINUTES}`],
    );
    console.log(stdout);
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "nothing grows, and both sides have the same counts");
  },
  { deadline: (MINUTES + 1) * 60_000 },
);
