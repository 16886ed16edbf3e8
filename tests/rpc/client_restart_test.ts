import { assert, assertEquals } from "@std/assert";
import { callDuringRestarts } from "../_rpc_restart.ts";
import { test } from "../_helpers.ts";

for (const how of ["kill", "shutdown", "takeover"] as const) {
  test(
    `a restart by ${how} under 8 clients with 2,000 calls a second: each call settles once`,
    async () => {
      const { calls, settled, restarts } = await callDuringRestarts(how, 2000);
      assertEquals(settled, calls);
      assert(restarts >= 1);
    },
    { deadline: 20_000 },
  );
}
