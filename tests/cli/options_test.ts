import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parse } from "../../_cli/parse/command_line.ts";
import { COMMANDS } from "../../_cli/table.ts";
import { json } from "../../_cli/text/printable.ts";
import { UsageError } from "../../_cli/exit_codes.ts";
import { onTerminal, Process, uds, udsCommand } from "../_cli.ts";
import { decode, ROOT, TempDir, test } from "../_helpers.ts";

/** Arguments that every command accepts. */
const ARGUMENTS: Record<string, string[]> = {
  bench: ["/tmp/x"],
  call: ["/tmp/x", "method"],
  completion: ["bash"],
  permissions: ["ls"],
  relay: ["/tmp/x", "/tmp/y"],
  replay: ["/tmp/x", "/tmp/y"],
  run: ["--", "true"],
  serve: ["/tmp/x", "--", "true"],
  tap: ["/tmp/x", "/tmp/y"],
};

/** Reports whether the value of an option is a number. */
function takesNumber(read: (value: string) => unknown): boolean {
  try {
    return typeof read("100") === "number";
  } catch {
    return false;
  }
}

for (const [name, command] of COMMANDS) {
  for (const [option, { parse: read, ...rest }] of Object.entries(command.options)) {
    if (read === undefined || "values" in rest || !takesNumber(read)) continue;
    test(`uds ${name} --${option} refuses a number that no system can take`, async () => {
      for (const value of ["99999999999999999999", "9007199254740991", "1e3", "-1", "NaN", ""]) {
        const args = [name, `--${option}`, value, ...ARGUMENTS[name] ?? ["/tmp/x"]];
        const error = await assertRejects(
          () => parse(args, COMMANDS),
          UsageError,
          `--${option} must be `,
        );
        assertStringIncludes(error.message, JSON.stringify(value));
      }
    });
  }
  test(`uds ${name} has no options but its own`, async () => {
    for (const option of ["constructor", "toString", "hasOwnProperty", "__proto__", "valueOf"]) {
      for (const words of [[`--${option}=x`], [`--${option}`, "x"]]) {
        const args = [name, ...words, ...ARGUMENTS[name] ?? ["/tmp/x"]];
        await assertRejects(() => parse(args, COMMANDS), UsageError, "unknown option");
      }
    }
  });
}

test("uds --timeout of 30 days names the longest time", async () => {
  const { code, stderr } = await uds(["listen", "--timeout", "2592000", "/tmp/x"]);
  assertEquals(code, 2);
  assertStringIncludes(
    stderr,
    '--timeout must be at most 2147483 seconds (24 days), got "2592000"',
  );
  assert(typeof await parse(["listen", "--timeout", "2147483", "/tmp/x"], COMMANDS) !== "string");
});

test("uds takes letters that share one dash, and a value after its letter", async () => {
  for (
    const args of [["-kq", "-w5"], ["-qkw5"], ["-k", "-q", "-w=5"], ["--timeout=5", "-qk"]]
  ) {
    assert(typeof await parse(["listen", ...args, "/tmp/x"], COMMANDS) !== "string");
  }
  await assertRejects(
    () => parse(["listen", "-kx", "/tmp/x"], COMMANDS),
    UsageError,
    "unknown option -x",
  );
  await assertRejects(
    () => parse(["listen", "-w", "-k", "/tmp/x"], COMMANDS),
    UsageError,
    "missing value: --timeout SECONDS",
  );
});

for (const command of [["serve", "/tmp/x"], ["run"], ["run", "--stdio"]]) {
  test(`uds ${command.join(" ")} -- '' refuses the empty command`, async () => {
    const { code, stderr } = await uds([...command, "--", ""], { flags: ["-A"] });
    assertEquals(code, 2);
    assertStringIncludes(stderr, 'CMD must be a program, got ""');
  });
}

/** Characters that control a terminal, and one that reverses the direction of text. */
const HOSTILE = "\x9b31m\u202ea\u{e0001}\x7f\u2028";

test("json() escapes control characters, and stays JSON", () => {
  const text = json({ text: HOSTILE });
  assertEquals(JSON.parse(text), { text: HOSTILE });
  assert(/^[\x20-\x7e]+$/.test(text), text);
});

test("uds --json prints no control characters", async () => {
  await using dir = new TempDir();
  const path = dir.file(HOSTILE);
  using _listener = Deno.listen({ transport: "unix", path });
  for (
    const args of [["probe", "--json", path], ["ls", "--json", dir.path], ["rm", "--json", path]]
  ) {
    const { stdout, stderr } = await uds(args);
    assert(stdout.includes("\\u202e") || stderr.includes("\\u202e"), stdout + stderr);
    // deno-lint-ignore no-control-regex -- what is looked for
    assert(!/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2028]/.test(stdout + stderr), stdout + stderr);
  }
});

test("uds runs without a cache and without a network", async () => {
  await using dir = new TempDir();
  // A proxy that never answers: a download would wait until the test ends.
  using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const proxy = `http://127.0.0.1:${silent.addr.port}`;
  const env = { DENO_DIR: dir.file("cache"), http_proxy: proxy, https_proxy: proxy };
  for (
    const [args, code, stdout] of [
      [["probe", dir.file("s")], 3, "free\n"],
      [["probe", "--json", dir.file("s")], 3, json({ path: dir.file("s"), state: "free" }) + "\n"],
      [["probe", "--jsno"], 2, ""],
      [["ls", "--json", dir.path], 0, "[]\n"],
    ] as const
  ) {
    await using process = new Process(
      [Deno.execPath(), "run", "--no-prompt", "-RWN", "--no-check", `${ROOT}cli.ts`, ...args],
      { cwd: dir.path, env },
    );
    const ended = await process.ended;
    assertEquals([ended.code, decode(ended.stdout)], [code, stdout], ended.stderr);
    // deno-lint-ignore no-control-regex -- what is looked for
    assert(!/\x1b|Download/.test(ended.stderr), ended.stderr);
  }
});

test("uds imports no package", async () => {
  const args = ["info", "--json", `${ROOT}cli.ts`];
  const { stdout } = await new Deno.Command(Deno.execPath(), { args, stderr: "null" }).output();
  const { modules } = JSON.parse(decode(stdout)) as { modules: { specifier: string }[] };
  const others = modules.map(({ specifier }) => specifier)
    .filter((specifier) => !/^(file|node):/.test(specifier));
  assertEquals(others, []);
  assert(modules.length > 50);
});

test("uds --json prints no colors on a terminal", async () => {
  await using dir = new TempDir();
  using _listener = Deno.listen({ transport: "unix", path: dir.file("s") });
  const command = udsCommand(["ls", "--json", dir.path, "/nowhere"]);
  await using terminal = new Process(onTerminal(command), { env: { NO_COLOR: "", TERM: "xterm" } });
  const { stdout } = await terminal.ended;
  const text = decode(stdout);
  assertStringIncludes(text, '"state"');
  assertStringIncludes(text, '"error"');
  assert(!text.includes("\x1b"), text);
}, { needs: ["script"] });
