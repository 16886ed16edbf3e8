import { assertEquals, assertMatch } from "@std/assert";
import { fixture, TempDir, test } from "../_helpers.ts";

/** Starts the program with a call. */
function start(call: string, path = "") {
  return fixture("uncaught_calls.ts", ["-A"], [call, path], { env: { NO_COLOR: "1" } });
}

const CALLS = [
  "read",
  "read after close()",
  "write",
  "write that waits",
  "write behind another one",
  "writeText",
  "closeWrite",
  "readable",
  "send",
  "receive",
  "for await",
  "call",
  "call that is interrupted",
  "connect",
  "listen",
  "accept",
  "pair",
];

for (const call of CALLS) {
  test(`an error that nothing catches shows the line that called: ${call}`, async () => {
    await using dir = new TempDir();
    await using program = start(call, dir.file("none"));
    const { code } = await program.status;
    const [message, line] = (await program.stderr()).split("\n");
    assertEquals(code, 1);
    assertMatch(message!, /^error: Uncaught \(in promise\) /);
    assertMatch(line!, /\/\/ uncaught$/);
  });
}
