/**
 * # Reads that look for bytes
 *
 * All tests of connections run once more, with a library that looks for bytes at every read.
 */

import { test } from "../_helpers.ts";
import { testLooking } from "../native/_connection_tests.ts";

/**
 * Fault: Every read looks before it waits, also where `lowLatency` would not look
 * How: All tests of `tests/connection`, with another library behind their import
 * Then: Order, ends, errors, timeouts, signals, streams and backpressure stay as they are
 */
test("all tests of connections pass over connections that look for bytes", async () => {
  await testLooking(["tests/connection"]);
}, { deadline: 300_000 });
