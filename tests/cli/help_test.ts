import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parse } from "../../_cli/parse/command_line.ts";
import { COMMANDS } from "../../_cli/table.ts";
import { uds } from "../_cli.ts";
import { test } from "../_helpers.ts";

const NAMES = [
  "activate",
  "bench",
  "call",
  "completion",
  "connect",
  "echo",
  "listen",
  "ls",
  "man",
  "permissions",
  "probe",
  "relay",
  "replay",
  "rm",
  "run",
  "send",
  "serve",
  "tap",
];

for (const args of [["--help"], ["-h"], ["help"], ["help", "send"]]) {
  test(`uds ${args.join(" ")} prints the help, without a permission`, async () => {
    const { code, stdout, stderr } = await uds(args, { flags: [] });
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, /^uds[^\n]*: [^\n]+\n\n {2}uds /);
    assertEquals(stdout, await parse(args, COMMANDS));
  });
}

test("the help lists the commands and the exit codes", async () => {
  assertEquals([...COMMANDS.keys()].sort(), NAMES);
  const text = String(await parse(["--help"], COMMANDS));
  for (const command of NAMES) assertMatch(text, new RegExp(`^  ${command} +\\w`, "m"));
  for (let exit = 0; exit <= 9; exit++) assertMatch(text, new RegExp(`\\b${exit} \\w`));
});

for (const command of NAMES) {
  test(`the help of ${command} begins with examples, and fits a terminal`, async () => {
    const text = String(await parse([command, "--help"], COMMANDS));
    const [title = "", empty, example = ""] = text.split("\n");
    assertMatch(title, new RegExp(`^uds ${command} [^:]*: `));
    assertEquals(empty, "");
    assertStringIncludes(example, `uds ${command}`);
    assertStringIncludes(text, "\n  -h, --help");
    for (const line of text.split("\n")) assert(line.length <= 104, line);
  });
}

test("the help of replay names both defaults of --timeout, and what 0 means", async () => {
  assertMatch(
    String(await parse(["replay", "--help"], COMMANDS)),
    /^ {2}-w, --timeout SECONDS +[^\n]*; 0: no limit \(default 5; 0 with --listen\)$/m,
  );
});

test("uds --version prints the version of the package", async () => {
  const { version } = JSON.parse(
    await Deno.readTextFile(new URL("../../deno.json", import.meta.url)),
  );
  const { code, stdout } = await uds(["--version"], { flags: [] });
  assertEquals([code, stdout], [0, `uds ${version}\n`]);
});
