/**
 * # A stopped process
 */

import { connect } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { encode, fixture, readText, TempDir, test } from "../_helpers.ts";

const CLIENTS = 2000;

const MODES = {
  idle: ["idleTimeout", encode("a"), encode("b"), "b"],
  first: ["firstByteTimeout", new Uint8Array(), encode("b"), "b"],
  frame: ["frameTimeout", new Uint8Array([0, 0, 0, 2, 65]), new Uint8Array([66]), "\0\0\0\x02AB"],
} as const;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

for (const [mode, [option, before, during, answer]] of Object.entries(MODES)) {
  /**
   * Fault: The server is stopped for longer than its timeouts
   * How: SIGSTOP for 5 s, with timeouts of 2 s. 2,000 clients write meanwhile
   * Then: No client that has written is closed, and all are answered
   */
  test(
    `SIGSTOP for 5 s with ${option}: all 2,000 clients that wrote meanwhile are answered`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s");
      await using server = fixture("silence_server.ts", ["-A"], [path, mode, "2000"]);
      assertEquals(await server.line(), "ready");
      const clients = await Promise.all(Array.from({ length: CLIENTS }, () => connect(path)));
      await Promise.all(clients.map((client) => client.write(before)));
      if (mode === "idle") await Promise.all(clients.map(readText));
      server.kill("SIGSTOP");
      await pause(2500);
      await Promise.all(clients.map((client) => client.write(during)));
      await pause(2500);
      server.kill("SIGCONT");
      const answers = await Promise.all(clients.map(readText));
      assertEquals(answers.filter((got) => got !== answer).length, 0);
      for (const client of clients) client.close();
    },
    { deadline: 30_000 },
  );
}
