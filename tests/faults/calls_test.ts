/**
 * # Calls
 *
 * Eight clients of `rpcClient()` make 2,000 calls a second each, every fourth of them idempotent.
 */

import { assert, assertEquals } from "@std/assert";
import { callDuringRestarts } from "../_rpc_restart.ts";
import { test } from "../_helpers.ts";

/**
 * Fault: The server of calls is killed again and again
 * How: `kill -9` every 600 ms for 10 seconds, and a new server
 * Then: Each call is answered, or rejects with `CallInterrupted`, once; none but an idempotent one
 * runs twice
 */
test(
  "160,000 calls while their server is killed: each settles once, and none runs twice",
  async () => {
    const outcome = await callDuringRestarts("kill", 10_000);
    console.log(outcome);
    assertEquals(outcome.settled, outcome.calls);
    assert(outcome.restarts > 5 && outcome.interrupted > 0);
  },
  { deadline: 60_000 },
);

/**
 * Fault: The server of calls is restarted again and again
 * How: SIGTERM every 600 ms for 10 seconds, and a new server after it has shut down
 * Then: The same; what the old server refused runs on the new one
 */
test(
  "160,000 calls while their server is restarted: each settles once, and none runs twice",
  async () => {
    const outcome = await callDuringRestarts("shutdown", 10_000);
    console.log(outcome);
    assertEquals(outcome.settled, outcome.calls);
    assert(outcome.restarts > 5);
  },
  { deadline: 60_000 },
);

/**
 * Fault: The server of calls is replaced again and again
 * How: A successor with `existing: "replace"` every 600 ms for 10 seconds
 * Then: The same
 */
test(
  "160,000 calls while their server is replaced: each settles once, and none runs twice",
  async () => {
    const outcome = await callDuringRestarts("takeover", 10_000);
    console.log(outcome);
    assertEquals(outcome.settled, outcome.calls);
    assert(outcome.restarts > 5);
  },
  { deadline: 60_000 },
);
