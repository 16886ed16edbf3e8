import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { parse } from "../../_cli/parse/command_line.ts";
import { COMMANDS } from "../../_cli/table.ts";
import { UsageError } from "../../_cli/exit_codes.ts";
import { delay } from "../server/_server.ts";
import { Process, uds, udsCommand } from "../_cli.ts";
import { decode, TempDir, test } from "../_helpers.ts";

const MISTAKES: [what: string, args: string[], message: string, command?: string][] = [
  ["no command", [], "missing command: uds COMMAND [ARG...]"],
  ["an unknown command", ["sned"], 'unknown command "sned". Did you mean send?'],
  ["a property of every object", ["toString"], 'unknown command "toString"'],
  [
    "an option before the command",
    ["--quiet", "ls"],
    'unexpected "--quiet" before the command',
  ],
  ["a missing path", ["echo"], "missing PATH: uds echo PATH", "echo"],
  ["an argument too many", ["echo", "/tmp/x", "y"], 'unexpected argument "y"', "echo"],
  [
    "an unknown option",
    ["echo", "/tmp/x", "--moed", "600"],
    "unknown option --moed. Did you mean --mode?",
    "echo",
  ],
  ["two letters swapped", ["send", "/tmp/x", "--tmieout", "1"], "Did you mean --timeout?", "send"],
  ["an option near another", ["relay", "/a", "/b", "--kay", "x"], "Did you mean --key?", "relay"],
  [
    "a word that no option is near",
    ["send", "/tmp/x", "-undefined"],
    'unknown option "-undefined". Write --',
    "send",
  ],
  ["a letter without its value", ["send", "/tmp/x", "-w="], "missing value: --timeout", "send"],
  ["an unknown letter", ["echo", "/tmp/x", "-z"], "unknown option -z", "echo"],
  ["an option without a value", ["echo", "/tmp/x", "--mode"], "missing value: --mode MODE", "echo"],
  ["an empty value", ["send", "/tmp/x", "--timeout="], "missing value: --timeout SECONDS", "send"],
  [
    "what only looks like an option",
    ["send", "/tmp/x", "-5"],
    'unknown option "-5". Write --',
    "send",
  ],
  [
    "an option twice",
    ["echo", "/tmp/x", "--mode", "600", "--mode", "660"],
    "unexpected second --mode",
    "echo",
  ],
  [
    "a mode that is not octal",
    ["echo", "/tmp/x", "--mode", "689"],
    '--mode must be three octal digits, such as 600, got "689"',
    "echo",
  ],
  [
    "a piece of no bytes",
    ["echo", "/tmp/x", "--piece", "0"],
    '--piece must be a whole number of at least 1, got "0"',
    "echo",
  ],
  [
    "a time that is not a number of seconds",
    ["send", "/tmp/x", "m", "--timeout", "1e3"],
    '--timeout must be a number of seconds, such as 1.5, got "1e3"',
    "send",
  ],
  [
    "a value of an option that takes none",
    ["probe", "--quiet=maybe", "/tmp/x"],
    'unexpected value of --quiet: "maybe"',
    "probe",
  ],
  [
    "no time at all",
    ["bench", "--self", "--seconds", "0"],
    '--seconds must be more than 0, got "0"',
    "bench",
  ],
  ["a negative time", ["send", "--timeout", "-1", "/tmp/x"], 'got "-1"', "send"],
  ["a letter with a time that is not a number", ["send", "-wx", "/tmp/x"], 'got "x"', "send"],
  [
    "a letter with a value that takes none",
    ["send", "-q1", "/tmp/x"],
    'unknown option "-q1"',
    "send",
  ],
  ["nothing but --", ["--", "ls"], 'unexpected "--" before the command'],
  ["nothing to remove", ["rm"], "missing PATH: uds rm PATH...", "rm"],
  ["no command to run", ["run"], "missing command: uds run -- CMD [ARG...]", "run"],
  [
    "no command to ask about",
    ["permissions"],
    "missing command: uds permissions COMMAND [ARG...]",
    "permissions",
  ],
];

for (const [what, args, message, command] of MISTAKES) {
  test(`uds refuses ${what}`, async () => {
    const error = await assertRejects(() => parse(args, COMMANDS), UsageError);
    assertStringIncludes(error.message, message);
    assertEquals(error.command, command);
  });
}

for (
  const [args, stderr] of [
    [[], "uds: missing command: uds COMMAND [ARG...]\nTry: uds --help\n"],
    [["sned"], 'uds: unknown command "sned". Did you mean send?\nTry: uds --help\n'],
    [["echo"], "uds: missing PATH: uds echo PATH\nTry: uds echo --help\n"],
    [["send", "/tmp/x", "-5"], null],
    [["probe", ""], null],
    [["echo", "/tmp/x", "--mode", "400"], null],
    [["send", `/${"x".repeat(200)}`, "m"], null],
    [["send", "@", "hi"], 'uds: Invalid socket path "@": the abstract name is empty\n'],
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

const LONG = "x y".repeat(4000);

for (
  const [args, exit] of [
    [[LONG], 2],
    [["echo", "/tmp/x", LONG], 2],
    [["probe", `--${"x".repeat(12_000)}`], 2],
    [["probe", `-${LONG}`], 2],
    [["probe", `--quiet=${LONG}`, "/tmp/x"], 2],
    [["send", "--timeout", LONG, "/tmp/x"], 2],
    [["send", `/${LONG}`, "m"], 2],
    [["probe", `file:${LONG}`], 2],
    [["send", "--hex", "/tmp/x", LONG], 2],
    [["serve", "--group", LONG, "/tmp/x", "--", "cat"], 2],
    [["ls", `/${LONG}`], 1],
    [["run", "--", LONG], 127],
  ] as const
) {
  const what = args.map((arg) => arg.slice(0, 10)).join(" ");
  test(`uds ${what}… shows the ends of a long argument`, async () => {
    const { code, stderr } = await uds(args, { flags: ["-A"] });
    assertEquals(code, exit, stderr);
    assert(stderr.length < 1000, `${stderr.length} characters`);
    assertMatch(stderr, /x.*x/);
  });
}

for (const args of [[], ["--type", "seqpacket"], ["--type", "dgram"]]) {
  const line = ["uds listen", ...args].join(" ");

  test(`${line} --timeout shows the whole path`, async () => {
    await using dir = new TempDir();
    const command = udsCommand(["listen", ...args, "--timeout", "0.1", "s.sock"], ["-A"]);
    const process = new Process(command, { cwd: dir.path });
    const { code, stderr } = await process.ended;
    const what = args[1] === "dgram" ? "packet" : "client";
    assertEquals(code, 8);
    assertStringIncludes(
      stderr,
      `uds: Cannot serve on "${dir.file("s.sock")}": no ${what} within 0.1 s\n`,
    );
  });

  test(`${line} --timeout 0 waits without a limit`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const command = udsCommand(
      ["listen", ...args, "--timeout", "0", "--framing", "lines", "--expect", "1", path],
      ["-A"],
    );
    await using process = new Process(command, { input: "open" });
    await process.stderr.until("listening");
    // Longer than a timer of no time.
    await delay(100);
    const { code, stderr } = await uds([
      "send",
      ...args,
      path,
      args.length === 0 ? "hello\n" : "hello",
    ], { flags: ["-A"] });
    assertEquals(code, 0, stderr);
    const ended = await process.ended;
    assertEquals([ended.code, decode(ended.stdout)], [0, "hello\n"], ended.stderr);
  });
}

test("uds takes -w0.1 for -w 0.1", async () => {
  await using dir = new TempDir();
  const { code, stderr } = await uds(["listen", "-w0.1", dir.file("s.sock")]);
  assertEquals(code, 8);
  assertStringIncludes(stderr, "no client within 0.1 s");
});

test("uds --json reports a mistake as JSON", async () => {
  const { code, stdout, stderr } = await uds(["probe", "--json"]);
  assertEquals([code, stdout], [2, ""]);
  assertEquals(JSON.parse(stderr), {
    error: { name: "UsageError", message: "missing PATH: uds probe PATH" },
    exitCode: 2,
  });
});
