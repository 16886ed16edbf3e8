import { assertEquals, assertMatch, assertRejects, assertStringIncludes } from "@std/assert";
import { parse } from "../../_cli/parse/command_line.ts";
import { UsageError } from "../../_cli/io/reporter.ts";
import { uds } from "../_cli.ts";
import { TempDir, test } from "../_helpers.ts";

const MISTAKES: [what: string, args: string[], message: string, command?: string][] = [
  ["no command", [], "there is no command"],
  ["an unknown command", ["sned"], 'there is no command "sned". Is it send?'],
  ["a property of every object", ["toString"], 'there is no command "toString"'],
  [
    "an option before the command",
    ["--quiet", "ls"],
    'there is no option "--quiet" before a command',
  ],
  ["a missing path", ["echo"], "PATH is missing", "echo"],
  ["an argument too many", ["echo", "/tmp/x", "y"], 'one argument too many: "y"', "echo"],
  [
    "an unknown option",
    ["echo", "/tmp/x", "--moed", "600"],
    "no option --moed. Is it --mode?",
    "echo",
  ],
  ["an unknown letter", ["echo", "/tmp/x", "-z"], "there is no option -z", "echo"],
  ["an option without a value", ["echo", "/tmp/x", "--mode"], "--mode has no value", "echo"],
  ["an empty value", ["send", "/tmp/x", "--timeout="], 'no option "--timeout="', "send"],
  ["what only looks like an option", ["send", "/tmp/x", "-5"], 'no option "-5". Write --', "send"],
  [
    "an option twice",
    ["echo", "/tmp/x", "--mode", "600", "--mode", "660"],
    "--mode is there twice",
    "echo",
  ],
  ["a mode that is not octal", ["echo", "/tmp/x", "--mode", "689"], "three octal digits", "echo"],
  ["a piece of no bytes", ["echo", "/tmp/x", "--piece", "0"], "at least 1", "echo"],
  [
    "a time that is none",
    ["send", "/tmp/x", "m", "--timeout", "1e3"],
    "a number of seconds",
    "send",
  ],
  [
    "a boolean that is none",
    ["probe", "--quiet=maybe", "/tmp/x"],
    "--quiet takes no value",
    "probe",
  ],
  ["no time at all", ["bench", "--self", "--seconds", "0"], "more than no time", "bench"],
  ["a negative time", ["send", "--timeout", "-1", "/tmp/x"], 'and not "-1"', "send"],
  ["a letter with a time that is none", ["send", "-wx", "/tmp/x"], 'and not "x"', "send"],
  ["a letter with a value that takes none", ["send", "-q1", "/tmp/x"], 'no option "-q1"', "send"],
  ["nothing but --", ["--", "ls"], 'no option "--" before a command'],
  ["nothing to remove", ["rm"], "PATH is missing", "rm"],
  ["no command to run", ["run"], "CMD is missing", "run"],
  ["no command to ask about", ["permissions"], "COMMAND is missing", "permissions"],
];

for (const [what, args, message, command] of MISTAKES) {
  test(`uds refuses ${what}`, async () => {
    const error = await assertRejects(() => parse(args), UsageError);
    assertStringIncludes(error.message, message);
    assertEquals(error.command, command);
  });
}

for (
  const [args, stderr] of [
    [[], "uds: there is no command\nTry: uds --help\n"],
    [["sned"], 'uds: there is no command "sned". Is it send?\nTry: uds --help\n'],
    [["echo"], "uds: PATH is missing\nTry: uds echo --help\n"],
    [["send", "/tmp/x", "-5"], null],
    [["probe", ""], null],
    [["echo", "/tmp/x", "--mode", "400"], null],
    [["send", `/${"x".repeat(200)}`, "m"], null],
    [["rm", "@name"], null],
    [["permissions", "echo", "/tmp/a,b"], null],
  ] as const
) {
  test(`uds ${args.join(" ").slice(0, 30)} ends with exit code 2`, async () => {
    const result = await uds(args);
    assertEquals([result.code, result.stdout], [2, ""]);
    if (stderr !== null) assertEquals(result.stderr, stderr);
    else assertMatch(result.stderr, /^uds: [^\n]+\n(Try: uds [^\n]*--help\n)?$/);
  });
}

test("uds takes -w0.1 for -w 0.1", async () => {
  await using dir = new TempDir();
  const { code, stderr } = await uds(["listen", "-w0.1", dir.file("s.sock")]);
  assertEquals(code, 8);
  assertStringIncludes(stderr, "no client within 0.1 s");
});

test("uds --json tells a mistake as JSON", async () => {
  const { code, stdout, stderr } = await uds(["probe", "--json"]);
  assertEquals([code, stdout], [2, ""]);
  assertEquals(JSON.parse(stderr), {
    error: { name: "UsageError", message: "PATH is missing" },
    exitCode: 2,
  });
});
