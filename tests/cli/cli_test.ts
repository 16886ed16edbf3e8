import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { parse } from "../../_cli/parse/command_line.ts";
import { UsageError } from "../../_cli/text/reporter.ts";
import { claim, permissionFlags, permissions, serve } from "@uds/uds";
import { Process, uds, udsCommand } from "../_cli.ts";
import { fixture, FullListener, makeStale, run, TempDir, test } from "../_helpers.ts";
import { leaveLock } from "../_lock.ts";

const MESSAGE = "This is the message. It will be repeated.";

/** A server that sends back what comes. */
function echoServer(path: string) {
  return serve(path, (conn) => conn.readable.pipeTo(conn.writable));
}

// ---- what is wrong with the command line ----------------------------------------------------------

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

// ---- the help ---------------------------------------------------------------------------------------

const COMMANDS = [
  "bench",
  "completion",
  "connect",
  "echo",
  "listen",
  "ls",
  "permissions",
  "probe",
  "rm",
  "run",
  "send",
  "serve",
];

for (const args of [["--help"], ["-h"], ["help"], ["help", "send"]]) {
  test(`uds ${args.join(" ")} prints the help, without a permission`, async () => {
    const { code, stdout, stderr } = await uds(args, { flags: [] });
    assertEquals([code, stderr], [0, ""]);
    assertMatch(stdout, /^uds[^\n]*: [^\n]+\n\n {2}uds /);
    assertEquals(stdout, await parse(args));
  });
}

test("the help lists the commands and the exit codes", async () => {
  const text = String(await parse(["--help"]));
  for (const command of COMMANDS) assertMatch(text, new RegExp(`^  ${command} +\\w`, "m"));
  for (let exit = 0; exit <= 9; exit++) assertMatch(text, new RegExp(`\\b${exit} \\w`));
});

for (const command of COMMANDS) {
  test(`the help of ${command} begins with examples, and fits a terminal`, async () => {
    const text = String(await parse([command, "--help"]));
    const [title = "", empty, example = ""] = text.split("\n");
    assertMatch(title, new RegExp(`^uds ${command} [^:]*: `));
    assertEquals(empty, "");
    assertStringIncludes(example, `uds ${command}`);
    assertStringIncludes(text, "\n  -h, --help");
    for (const line of text.split("\n")) assert(line.length <= 104, line);
  });
}

test("uds --version prints the version of the package", async () => {
  const { version } = JSON.parse(
    await Deno.readTextFile(new URL("../../deno.json", import.meta.url)),
  );
  const { code, stdout } = await uds(["--version"], { flags: [] });
  assertEquals([code, stdout], [0, `uds ${version}\n`]);
});

// ---- the exit codes of a path ------------------------------------------------------------------------

/** What may be at a path. */
const SITUATIONS: Record<string, (path: string) => Promise<AsyncDisposable | Disposable | void>> = {
  "a server": echoServer,
  "nothing": async () => {},
  "a dead socket": makeStale,
  "a claim": (path) => claim(path),
  "a full backlog": (path) => FullListener.open(path),
  "a regular file": (path) => Deno.writeTextFile(path, "mine"),
};

const EXIT_CODES: [situation: string, command: string[], code: number, says: RegExp][] = [
  ["a server", ["probe"], 0, /^mode 0600, owner \d+:\d+, held by process \d+\n$/],
  ["nothing", ["probe"], 3, /^$/],
  ["a dead socket", ["probe"], 4, /^mode 0\d{3}, /],
  ["a claim", ["probe"], 5, /^held by process \d+\n$/],
  ["a full backlog", ["probe"], 5, /^mode /],
  ["a regular file", ["probe"], 7, /^mode /],
  ["nothing", ["connect"], 3, /there is no such file\. Start the server first\n$/],
  ["a dead socket", ["connect"], 4, /nobody listens on it/],
  ["a full backlog", ["connect", "--timeout=0.05"], 8, /no connection within 50 ms/],
  ["a full backlog", ["connect", "--timeout=0"], 5, /its backlog is full/],
  ["a regular file", ["connect"], 7, /a regular file/],
  ["nothing", ["send"], 3, /no such file/],
  ["nothing", ["send", "--wait", "-w", ".05"], 8, /no connection within 50 ms/],
  ["a dead socket", ["send"], 4, /nobody listens on it/],
  ["a regular file", ["send"], 7, /a regular file/],
  ["a server", ["echo"], 5, /in use by process \d+/],
  ["a claim", ["echo"], 5, /in use by process \d+/],
  ["a full backlog", ["echo"], 5, /uds: /],
  ["a regular file", ["echo"], 7, /a regular file, which was left untouched/],
  ["a server", ["listen"], 5, /in use by process \d+/],
  ["a regular file", ["listen"], 7, /a regular file/],
  ["a server", ["rm"], 5, /in use by process \d+/],
  ["nothing", ["rm"], 3, /there is no such file/],
  ["a claim", ["rm"], 5, /in use by process \d+/],
  ["a regular file", ["rm"], 7, /a regular file/],
];

for (const [situation, [command = "", ...options], code, says] of EXIT_CODES) {
  const line = ["uds", command, ...options].join(" ");
  test(`${line} of ${situation} ends with exit code ${code}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const at = await SITUATIONS[situation]!(path);
    const before = dir.list();
    const result = await uds([command, path, ...options]);
    assertEquals(result.code, code, result.stderr);
    assertMatch(result.stderr, says);
    assert(!result.stderr.includes("    at "), "no stack trace");
    // Whatever is there stays as it was.
    assertEquals(dir.list(), before);
    if (at === undefined) return;
    if (Symbol.asyncDispose in at) await at[Symbol.asyncDispose]();
    else at[Symbol.dispose]();
  });
}

test("uds echo in a directory that does not exist ends with exit code 3", async () => {
  const { code, stderr } = await uds(["echo", "/nowhere/at/all.sock"]);
  assertEquals(code, 3, stderr);
  assertStringIncludes(stderr, "its directory does not exist");
});

test("uds echo where the lock cannot be trusted ends with exit code 6", async () => {
  await using dir = new TempDir();
  await Deno.mkdir(dir.file("s.sock.lock"));
  const { code, stderr } = await uds(["echo", dir.file("s.sock")]);
  assertEquals(code, 6, stderr);
  assertStringIncludes(stderr, "a directory");
});

test("uds of a path that the system denies ends with exit code 6", async () => {
  await using dir = new TempDir(0o755);
  await using _server = await echoServer(dir.file("s.sock"));
  for (const [command, says] of [["probe", "denied\n"], ["send", ""], ["echo", ""]] as const) {
    const args = [command, dir.file("s.sock"), ...(command === "send" ? ["m"] : [])];
    const { code, stdout, stderr } = await run(
      Deno.execPath(),
      udsCommand(args, ["-A"]).slice(1).map((arg) =>
        arg.endsWith("/cli.ts") ? arg.replace(/cli\.ts$/, "tests/fixtures/cli_as_nobody.ts") : arg
      ),
    );
    assertEquals([code, stdout], [6, says], stderr);
  }
}, { root: true });

test(
  "uds listen that times out and cannot remove its path says both, and ends with exit code 8",
  async () => {
    await using dir = new TempDir(0o777);
    const path = dir.file("s.sock");
    await using program = fixture("cli_as_nobody.ts", ["-A"], ["listen", "--timeout", "1", path]);
    while (!dir.list().includes("s.sock")) await new Promise((resolve) => setTimeout(resolve, 5));
    Deno.chmodSync(dir.path, 0o755);
    assertEquals((await program.status).code, 8);
    // Where coverage is measured, this user may not write it down.
    const lines = (await program.stderr()).trimEnd().split("\n")
      .filter((line) => !line.startsWith("Failed to create coverage file"));
    assertEquals(lines.slice(0, 2), [
      `listening on ${path}`,
      `uds: Cannot serve ${path}: no client within 1 s`,
    ]);
    assertStringIncludes(lines[2]!, `uds: Cannot remove "${path}" and its lock`);
    assertEquals(lines.length, 3);
  },
  { root: true },
);

test("uds send says that its output cannot be written, with exit code 1", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("s.sock"));
  const command = udsCommand(["send", dir.file("s.sock"), "hello"]);
  const { code, stderr } = await run("sh", ["-c", '"$@" >/dev/full', "sh", ...command]);
  assertEquals(code, 1);
  assertMatch(stderr, /^uds: Cannot write to standard output: .*space/);
}, { needs: Deno.build.os === "linux" ? [] : ["/dev/full"] });

// ---- permissions --------------------------------------------------------------------------------------

const MISSING: [args: string[], wants: string][] = [
  [["connect", "/run/a.sock"], "--allow-net=unix:/run/a.sock"],
  [["send", "/run/a.sock", "m"], "--allow-net=unix:/run/a.sock"],
  [["probe", "/run/a.sock"], "--allow-net=unix:/run/a.sock"],
  [["echo", "/run/a.sock"], "--allow-net=unix:/run/a.sock"],
  [["listen", "/run/a.sock"], "--allow-net=unix:/run/a.sock"],
  [["rm", "/run/a.sock", "/run/b.sock"], "--allow-net=unix:/run/a.sock,unix:/run/b.sock"],
  [["connect", "@name"], "--allow-net"],
  [["ls"], "--allow-env=XDG_RUNTIME_DIR,TMPDIR --allow-sys=uid"],
  [["ls", "--probe", "/run"], "--allow-net"],
  [["run", "true"], "--allow-run=true --allow-env"],
  [["run", "--stdio", "true"], "--allow-run=sh --allow-env"],
];

for (const [args, wants] of MISSING) {
  test(`uds ${args.join(" ")} names ${wants} where that is missing, with exit code 9`, async () => {
    const { code, stdout, stderr } = await uds(args, { flags: ["--allow-read", "--allow-write"] });
    assertEquals([code, stdout], [9, ""]);
    assert(stderr.endsWith(`Run again with ${wants}\n`), stderr);
  });
}

test("uds --json names a missing permission as JSON", async () => {
  const { code, stderr } = await uds(["send", "--json", "/run/a.sock", "m"], { flags: [] });
  const { error, exitCode } = JSON.parse(stderr);
  assertEquals([code, exitCode, error.name, error.path], [9, 9, "NotCapable", "/run/a.sock"]);
  assertStringIncludes(error.message, "--allow-read=/run/a.sock");
});

const LINES: [args: string[], set: Deno.PermissionOptionsObject][] = [
  [["echo", "/run/a.sock"], permissions("serve", "/run/a.sock")],
  [["listen", "--keep", "/run/a.sock"], permissions("serve", "/run/a.sock")],
  [["connect", "/run/a.sock"], permissions("connect", "/run/a.sock")],
  [["send", "/run/a.sock", "m"], permissions("connect", "/run/a.sock")],
  [["probe", "@name"], permissions("probe", "\0name")],
  [["rm", "/run/a.sock"], permissions("claim", "/run/a.sock")],
  [["rm", "/run/a", "/run/b"], {
    read: ["/run/a", "/run/a.lock", "/run/b", "/run/b.lock"],
    write: ["/run/a", "/run/a.lock", "/run/b", "/run/b.lock"],
    net: ["unix:/run/a", "unix:/run/b"],
  }],
  [["ls"], { env: ["XDG_RUNTIME_DIR", "TMPDIR"], sys: ["uid"], read: true }],
  [["ls", "/run"], { read: ["/run"] }],
  [["ls", "--probe", "/run"], { read: ["/run"], write: ["/run"], net: true }],
  [["run", "ls", "-l"], permissions("pair", "ls")],
  [["run", "--stdio", "--", "ls"], permissions("pair", "sh")],
  [["permissions", "ls"], {}],
];

for (const [args, set] of LINES) {
  test(`uds ${args.join(" ")} needs what the package says`, async () => {
    const parsed = await parse(args);
    assert(typeof parsed !== "string");
    assertEquals(await parsed.needs(), set);
  });
}

test("uds permissions prints a line that a shell takes apart again", async () => {
  const args = ["send", "/run/it's a.sock", "--", "-$x\n"];
  const { code, stdout } = await uds(["permissions", ...args], { flags: [] });
  assertEquals(code, 0);
  const { stdout: words } = await run("sh", ["-c", `printf '%s\\0' ${stdout}`]);
  const flags = permissionFlags(permissions("connect", "/run/it's a.sock"));
  const program = new URL("../../cli.ts", import.meta.url).pathname;
  assertEquals(words.split("\0"), ["deno", "run", ...flags, program, ...args, ""]);
});

test("uds permissions --json prints the permissions as deno.json has them", async () => {
  const { stdout } = await uds(["permissions", "--json", "probe", "/run/a.sock"], { flags: [] });
  assertEquals(JSON.parse(stdout), permissions("probe", "/run/a.sock"));
});

test("the line that uds permissions prints is enough", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await echoServer(path);
  await makeStale(dir.file("dead.sock"));
  for (
    const [args, expected] of [
      [["probe", path], "alive\n"],
      [["send", path, "hello"], "hello"],
      [["ls", "--probe", dir.path], "alive"],
      [["rm", dir.file("dead.sock")], ""],
      [["run", "--", "sh", "-c", "echo hello >&3"], "hello\n"],
      [["run", "--stdio", "--", "echo", "hello"], "hello\n"],
    ] as const
  ) {
    const { stdout: line } = await uds(["permissions", ...args], { flags: [] });
    const flags = line.match(/'?--allow-[^ ]+/g) ?? [];
    const { code, stdout, stderr } = await uds(args, { flags });
    assertEquals(code, 0, stderr);
    assertStringIncludes(stdout, expected);
  }
});

// ---- echo and send --------------------------------------------------------------------------------------

test("uds echo and uds send pass a message in pieces, with the permissions named", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  await using server = new Process(
    udsCommand(
      ["echo", path, "--mode", "640", "--piece", "16"],
      permissionFlags(permissions("serve", path, { mode: 0o640 })),
    ),
  );
  const reply = await uds(["send", "--wait", path, MESSAGE, "--piece", "16"], {
    flags: permissionFlags(permissions("connect", path)),
  });
  assertEquals(reply, {
    code: 0,
    stdout: MESSAGE,
    stderr: 'received "This is the mess"\nreceived "age. It will be "\nreceived "repeated."\n',
  });
  assertEquals((await Deno.lstat(path)).mode! & 0o777, 0o640);
  server.kill("SIGTERM");
  const { code, stdout, stderr } = await server.ended;
  assertEquals([code, stdout.length], [0, 0]);
  assertEquals(dir.list(), []);
  assertEquals(stderr.split("\n"), [
    `listening on ${path}`,
    'received "This is the mess", sending it back',
    'received "age. It will be ", sending it back',
    'received "repeated.", sending it back',
    "ending",
    "",
  ]);
});

test("uds echo serves an abstract name as @name, and says as JSON what happens", async () => {
  const name = `@uds-test-${crypto.randomUUID()}`;
  await using server = new Process(udsCommand(["echo", "--json", name], ["--allow-net"]));
  const reply = await uds(["send", "--wait", name, "hello"], { flags: ["--allow-net"] });
  assertEquals(reply.stdout, "hello");
  server.kill("SIGTERM");
  const { code, stderr } = await server.ended;
  assertEquals(code, 0);
  assertEquals(stderr.trimEnd().split("\n").map((line) => JSON.parse(line)), [
    { event: "listening", path: name },
    { event: "ending" },
  ]);
}, { needs: Deno.build.os === "linux" ? [] : ["abstract names"] });

test("uds send sends what looks like an option after --", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("s.sock"));
  const { code, stdout } = await uds(["send", dir.file("s.sock"), "--", "--help"]);
  assertEquals([code, stdout], [0, "--help"]);
});

for (const dash of [[], ["-"]]) {
  test(`uds send PATH ${dash} sends standard input`, async () => {
    await using dir = new TempDir();
    await using _server = await echoServer(dir.file("s.sock"));
    const { code, stdout, stderr } = await uds(["send", dir.file("s.sock"), ...dash], {
      input: "hello\n",
    });
    assertEquals([code, stdout, stderr], [0, "hello\n", ""]);
  });
}

test("uds send sends an empty message, and then the end of file", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    const count = await conn.read(new Uint8Array(1));
    await conn.write(new TextEncoder().encode(`${count}`));
  });
  assertEquals((await uds(["send", dir.file("s.sock"), ""])).stdout, "null");
});

test("uds send fails where the server does not read the message", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await conn.write(new TextEncoder().encode("no, thanks\n"));
  });
  const input = "x".repeat(1_000_000);
  const { code, stdout, stderr } = await uds(["send", dir.file("s.sock")], { input });
  assertEquals([code, stdout], [1, "no, thanks\n"]);
  assertMatch(
    stderr,
    /^uds: Cannot (read from|write to) .*(the peer (has )?closed|both directions have ended)/,
  );
});

// ---- probe, ls, rm ---------------------------------------------------------------------------------------

test("uds probe prints the state alone, with --quiet nothing, with --json everything", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await echoServer(path);
  const { stdout } = await uds(["probe", path]);
  assertEquals(stdout, "alive\n");
  assertEquals(await uds(["probe", "-q", path]), { code: 0, stdout: "", stderr: "" });
  const json = await uds(["probe", "--json", path]);
  const [uid, gid] = [Deno.uid(), Deno.gid()];
  assertEquals([json.code, json.stderr], [0, ""]);
  assertEquals(JSON.parse(json.stdout), {
    path,
    state: "alive",
    uid,
    gid,
    holder: Deno.pid,
    mode: "0600",
  });
});

/** Sockets of every kind, and what is none. */
async function makeSockets(dir: TempDir): Promise<AsyncDisposable> {
  const stack = new AsyncDisposableStack();
  stack.use(await echoServer(dir.file("b.sock")));
  await makeStale(dir.file("a\x1b[2J.sock"));
  await Deno.writeTextFile(dir.file("c.txt"), "");
  await Deno.symlink("b.sock", dir.file("d.sock"));
  await Deno.mkdir(dir.file("below"));
  stack.use(await echoServer(dir.file("below/e.sock")));
  return stack;
}

test("uds ls lists sockets, what their locks tell, and does not connect", async () => {
  await using dir = new TempDir();
  await using _sockets = await makeSockets(dir);
  let connections = 0;
  await using _server = await serve(dir.file("f.sock"), () => Promise.resolve(connections++));
  const { code, stdout, stderr } = await uds(["ls", dir.path], { flags: [`-R=${dir.path}`] });
  assertEquals([code, stderr], [0, ""]);
  const owner = `${Deno.uid()}:${Deno.gid()}`;
  const lines = stdout.split("\n").map((line) => line.split(/ {2,}/));
  assertEquals(lines, [
    ["STATE", "MODE", "OWNER", "PID", "PATH"],
    ["unknown", lines[1]![1]!, owner, "-", `${dir.path}/a\\x1b[2J.sock`],
    ["claimed", "0600", owner, String(Deno.pid), dir.file("b.sock")],
    ["claimed", "0600", owner, String(Deno.pid), dir.file("f.sock")],
    [""],
  ]);
  assertEquals(connections, 0);
});

test("uds ls --probe tells who is alive, --recursive goes below, --json is for scripts", async () => {
  await using dir = new TempDir();
  await using _sockets = await makeSockets(dir);
  const { code, stdout } = await uds(["ls", "-pR", "--json", `${dir.path}/`]);
  assertEquals(code, 0);
  const states = JSON.parse(stdout).map(({ path, state, holder }: Record<string, unknown>) => [
    path,
    state,
    holder,
  ]);
  assertEquals(states, [
    [dir.file("a\x1b[2J.sock"), "stale", undefined],
    [dir.file("b.sock"), "alive", Deno.pid],
    [dir.file("below/e.sock"), "alive", Deno.pid],
  ]);
});

test("uds ls without a directory lists the runtime directory, and all below it", async () => {
  await using dir = new TempDir();
  await using _sockets = await makeSockets(dir);
  const flags = ["--allow-read", "--allow-env", "--allow-sys"];
  for (const env of [{ XDG_RUNTIME_DIR: dir.path }, { XDG_RUNTIME_DIR: "", TMPDIR: dir.path }]) {
    if (env.TMPDIR) {
      await Deno.mkdir(`${dir.path}/uds-${Deno.uid()}`);
      await Deno.rename(dir.file("below"), `${dir.path}/uds-${Deno.uid()}/below`);
    }
    const { code, stdout, stderr } = await uds(["ls"], { flags, env });
    assertEquals([code, stderr], [0, ""]);
    assertStringIncludes(stdout, "/below/e.sock\n");
  }
  await Deno.rename(`${dir.path}/uds-${Deno.uid()}/below`, dir.file("below"));
});

test("uds ls tells of what it cannot list, and lists the rest", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("s.sock"));
  await Deno.writeTextFile(dir.file("file"), "");
  const { code, stdout, stderr } = await uds([
    "ls",
    dir.file("absent"),
    dir.file("file"),
    dir.file("s.sock"),
  ]);
  assertEquals(code, 3);
  assertEquals(stderr.split("\n"), [
    `uds: Cannot list "${dir.file("absent")}": there is no such directory`,
    `uds: Cannot list "${dir.file("file")}": it is neither a directory nor a socket`,
    "",
  ]);
  assertMatch(stdout, /\nclaimed +0600 .*s\.sock\n$/);
});

test("uds ls says that there are none", async () => {
  await using dir = new TempDir();
  const none = await uds(["ls", dir.path]);
  assertEquals(none, { code: 0, stdout: "", stderr: `no sockets in ${dir.path}\n` });
  assertEquals((await uds(["ls", "-q", dir.path])).stderr, "");
  assertEquals((await uds(["ls", "--json", dir.path])).stdout, "[]\n");
});

test("uds rm removes dead sockets and their locks, and goes on after a refusal", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("live.sock"));
  for (const name of ["a.sock", "b.sock"]) await makeStale(dir.file(name));
  leaveLock(dir.file("a.sock.lock"), 99999);
  // Without a socket it may be anybody's.
  leaveLock(dir.file("c.sock.lock"), 99999);
  const names = ["a.sock", "live.sock", "absent.sock", "b.sock", "c.sock"];
  const { code, stdout, stderr } = await uds(["rm", ...names.map((name) => dir.file(name))]);
  assertEquals([code, stdout], [5, ""]);
  const [a, live, absent, b, c] = stderr.split("\n");
  assertMatch(c!, /^uds: .*c\.sock.* there is no such file/);
  assertEquals([a, b], ["a", "b"].map((name) => `removed ${dir.file(`${name}.sock`)}`));
  assertMatch(
    live!,
    /^uds: Cannot remove ".*live\.sock": it is in use by process .*Stop that one first$/,
  );
  assertMatch(absent!, /^uds: .*absent\.sock.* there is no such file/);
  assertEquals(dir.list(), ["c.sock.lock", "live.sock", "live.sock.lock"]);
});

test("uds rm and ls show a name with escape sequences without them", async () => {
  await using dir = new TempDir();
  const name = "a\x1b]0;b\x07\u202Ec.sock";
  await makeStale(dir.file(name));
  const shown = `${dir.path}/a\\x1b]0;b\\x07\\u{202e}c.sock`;
  assertStringIncludes((await uds(["ls", dir.path])).stdout, shown);
  assertEquals((await uds(["rm", dir.file(name)])).stderr, `removed ${shown}\n`);
});

test("uds does its work, and has its exit code, though nothing can be said", async () => {
  await using dir = new TempDir();
  await using _server = await echoServer(dir.file("live.sock"));
  const line = (words: string) =>
    `${udsCommand([], ["-A"]).join(" ")} ${words} 2>/dev/full; echo $?`;
  const shell = (words: string) => new Deno.Command("sh", { args: ["-c", line(words)] }).output();
  for (
    const [words, said] of [
      [`send ${dir.file("nobody.sock")} x`, "3"],
      [`probe ${dir.file("live.sock")}`, "alive\n0"],
      [`send ${dir.file("live.sock")} hello`, "hello0"],
    ] as const
  ) {
    assertEquals(new TextDecoder().decode((await shell(words)).stdout), `${said}\n`, words);
  }
});

test("uds rm --json prints what it has removed", async () => {
  await using dir = new TempDir();
  await makeStale(dir.file("a.sock"));
  const args = ["rm", "--json", dir.file("a.sock"), dir.file("b.sock")];
  const { code, stdout, stderr } = await uds(args);
  assertEquals(code, 3);
  assertEquals(JSON.parse(stdout), { removed: [dir.file("a.sock")] });
  assertEquals(JSON.parse(stderr).error.name, "SocketNotFound");
});

test("uds rm removes nothing that a server has taken meanwhile", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await makeStale(path);
  const removals = Array.from({ length: 4 }, () => uds(["rm", path]));
  await using _server = await (async () => {
    for (;;) {
      try {
        return await echoServer(path);
      } catch (error) {
        if (!(error instanceof Deno.errors.AddrInUse)) throw error;
      }
    }
  })();
  const codes = (await Promise.all(removals)).map(({ code }) => code);
  for (const code of codes) assert([0, 3, 5].includes(code), codes.join(" "));
  assertEquals((await uds(["probe", path])).stdout, "alive\n");
});
