/**
 * # Descriptors in churn
 *
 * Connections are opened while everything else opens and closes descriptors: files, TCP sockets,
 * raw connections to the same paths, and other threads of the process.
 */

import { assert, assertEquals } from "@std/assert";
import { fixture, test } from "../_helpers.ts";

const CONNECTIONS = 20_000;

for (const [threads, what] of [[0, "one thread"], [2, "three threads"]] as const) {
  /**
   * Fault: The numbers of descriptors are used again all the time
   * How: 20,000 connections over five listeners, in one process that also opens files, TCP sockets
   * and raw connections; alone, and with two worker threads on the same paths
   * Then: No descriptor that was found belongs to another connection: what is sent to it comes back
   * through its own. Without other threads each one is found; with them at most 5 % are refused
   */
  test(
    `${CONNECTIONS.toLocaleString("en-US")} connections of ${what}: no descriptor is wrong`,
    async () => {
      await using program = fixture("native_churn.ts", ["-A"], [`${CONNECTIONS}`, `${threads}`]);
      const line = await program.line();
      console.log(line);
      const { accepted, connected, wrong, refused } = JSON.parse(line);
      assertEquals(wrong, 0);
      assert(accepted + connected >= CONNECTIONS, "too few");
      assert(refused <= (threads === 0 ? 0 : (accepted + connected) / 20), `${refused} refused`);
    },
    { deadline: 100_000 },
  );
}
