/**
 * # Time
 */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { ROOT, run, test } from "../_helpers.ts";

/** How many minutes the soak takes. */
const MINUTES = Number(Deno.env.get("UDS_SOAK_MINUTES") ?? 1);

/**
 * Fault: Connects, messages, resets, restarts, children, calls, activated commands, workers that
 * are reloaded and killed, descriptors and packets, in large numbers
 * How: `deno task soak --minutes 1`
 * Then: In every process, descriptors and children are as at the beginning at every rest, and the
 * line fitted through memory does not rise. Both sides have the same counts
 */
test(
  "a soak of connects, calls, workers and descriptors: no process grows, counts are exact",
  async () => {
    const config = ["--config", `${ROOT}/deno.json`, "--no-lock"];
    const { code, stdout, stderr } = await run(
      Deno.execPath(),
      ["run", "--quiet", "-A", ...config, `${ROOT}/tools/soak/main.ts`, "--minutes", `${MINUTES}`],
    );
    console.log(stdout);
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "nothing grows, and both sides have the same counts");
  },
  { deadline: (MINUTES + 1) * 60_000 },
);
