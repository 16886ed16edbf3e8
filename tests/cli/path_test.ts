/** The paths of the command line, and the errors of addresses that are written in another way. */

import { connect } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { parse } from "../../_cli/parse/command_line.ts";
import { COMMANDS } from "../../_cli/table.ts";
import { UsageError } from "../../_cli/exit_codes.ts";
import { denoArgs, Program, run, TempDir, test } from "../_helpers.ts";

for (
  const [args, message] of [
    [
      ["probe", "unix:/a"],
      'PATH must be a path or @name without "unix:", got "unix:/a". Write "/a"',
    ],
    [
      ["send", "unix:///a", "m"],
      'PATH must be a path or @name without "unix:", got "unix:///a". Write "/a"',
    ],
    [
      ["connect", "file:///a"],
      'PATH must be a path or @name without "file:", got "file:///a". Write "/a"',
    ],
    [
      ["echo", "unix:@a"],
      'PATH must be a path or @name without "unix:", got "unix:@a". Write "@a"',
    ],
    [["listen", "unix:"], 'PATH must be a path or @name without "unix:", got "unix:"'],
    [["rm", "http://a/b"], 'PATH must be a path or @name, not a URL, got "http://a/b"'],
  ] as const
) {
  test(`uds ${args.join(" ")} reports what to write instead`, async () => {
    const error = await assertRejects(() => parse([...args], COMMANDS), UsageError);
    assertEquals(error.message, message);
  });
}

test("uds takes a file with a name that starts with unix:", async () => {
  assert(typeof await parse(["probe", "./unix:a"], COMMANDS) !== "string");
});

test("uds permissions prints what a server needs below a symbolic link", async () => {
  await using dir = new TempDir(0o700);
  Deno.mkdirSync(dir.file("real"));
  Deno.symlinkSync("real", dir.file("link"));
  const path = dir.file("link/a.sock");
  const args = ["serve", "--replace", path, "--", "true"];
  const printed = await run(
    Deno.execPath(),
    denoArgs("./cli.ts", ["-A"], ["permissions", ...args]),
  );
  assertEquals(printed.code, 0, printed.stderr);
  const flags = printed.stdout.split(" ").filter((word) => word.startsWith("--allow-"));
  await using server = new Program(Deno.execPath(), denoArgs("./cli.ts", flags, args));
  (await connect({ path, wait: true, timeout: Infinity })).close();
  server.kill("SIGTERM");
  await server.status;
  assertEquals([...Deno.readDirSync(dir.file("real"))], []);
});
