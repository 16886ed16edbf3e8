import { assertEquals, assertMatch } from "@std/assert";
import { toFileUrl } from "@std/path/posix";
import { fixture, Program, ROOT, TempDir, test } from "../_helpers.ts";

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

test("an error shows the line that called, also of a package in a folder with a space and parentheses", async () => {
  await using dir = new TempDir();
  const folder = dir.file("uds (2)");
  await Deno.symlink(ROOT, folder);
  await Deno.writeTextFile(
    dir.file("main.ts"),
    `import { connect } from "${toFileUrl(folder)}/mod.ts";
    await connect(7 as never); // uncaught`,
  );
  const deno = ["run", "--no-check", "--no-lock", "--config", `${ROOT}deno.json`];
  await using program = new Program(Deno.execPath(), [...deno, dir.file("main.ts")], {
    env: { NO_COLOR: "1" },
  });
  const { code } = await program.status;
  const stderr = await program.stderr();
  assertEquals(code, 1);
  const [message, line] = stderr.split("\n");
  assertMatch(message!, /^error: Uncaught \(in promise\) TypeError: Invalid /);
  assertMatch(line!, /\/\/ uncaught$/);
});
