import { pair, type PairOptions, permissionFlags, type SocketError } from "@uds/uds";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  decode,
  encode,
  fixture,
  openDescriptors,
  readAll,
  ROOT,
  run,
  TempDir,
  test,
} from "../_helpers.ts";
import { assertNoneLeft, children, errorOf, file } from "./_pair.ts";

/** Returns the error of a start that fails. */
async function refusal(command: string, options: PairOptions = {}): Promise<SocketError> {
  const error = await errorOf(pair(command, options));
  assertEquals([error.operation, error.path], ["pair", null]);
  assertInstanceOf(error.cause, Error);
  return error;
}

test("pair() of a program that does not exist rejects with NotFound", async () => {
  const error = await refusal("uds-no-such-program", { stdin: "piped", stdout: "piped" });
  assertInstanceOf(error, Deno.errors.NotFound);
  assertEquals(error.code, "ENOENT");
  assertEquals(
    error.message,
    'Cannot start "uds-no-such-program": the program does not exist',
  );
});

const MEANT: [command: string, says: string][] = [
  ["uds-no-such task.js", 'Its arguments are given apart: "uds-no-such" and ["task.js"]'],
  ["uds-no-such -a b", 'Its arguments are given apart: "uds-no-such" and ["-a","b"]'],
  ["uds-no-such  -a  b ", 'Its arguments are given apart: "uds-no-such" and ["-a","b"]'],
  ...["-c 'echo hi'", '"a b"', "a\\ b", "$HOME", "a | b", "a >b", "*.ts", "a && b", "`a`"].map(
    (words): [string, string] => [
      `uds-no-such ${words}`,
      "Its arguments are given apart, in args, and no shell reads them",
    ],
  ),
  [
    "./no_such.ts",
    'A module is given by its URL, new URL("./no_such.ts", import.meta.url), or as an argument of "deno"',
  ],
];

for (const [command, says] of MEANT) {
  test(`pair() of ${command} says what was probably meant`, async () => {
    for (const options of [{}, { env: { PATH: "/uds-nowhere" } }]) {
      const { message } = await refusal(command, options);
      const start = `Cannot start ${JSON.stringify(command)}: the program does not exist. `;
      assertEquals(message, start + says);
    }
  });
}

test("pair() of a module's file that is not executable says how a module is given", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("task.ts"), "");
  const { message } = await refusal(dir.file("task.ts"));
  assertStringIncludes(message, "it is not executable for this user. A module is given by its URL");
});

const UNSTARTABLE: Record<string, (dir: TempDir) => Promise<[string, PairOptions?]>> = {
  "a name that is nowhere on the path": () => Promise.resolve(["uds-no-such-program"]),
  "a relative path that does not exist": () => Promise.resolve(["./uds-no-such-program"]),
  "an absolute path that does not exist": () => Promise.resolve(["/nowhere/at/all"]),
  "a script without its interpreter": async (dir) => {
    await Deno.writeTextFile(dir.file("script"), "#!/nowhere/sh\n", { mode: 0o755 });
    return [dir.file("script")];
  },
  "an argument that is too long": () => Promise.resolve(["sh", { args: ["x".repeat(131_072)] }]),
};

for (const [name, start] of Object.entries(UNSTARTABLE)) {
  test(`pair() of ${name}, again and again, leaves no descriptor`, async () => {
    await using dir = new TempDir();
    const before = openDescriptors();
    for (let i = 0; i < 20; i++) await refusal(...await start(dir));
    assertNoneLeft(before);
  });
}

if (Deno.build.os === "linux") {
  test("pair() without read permission leaves a descriptor at each failing start, as Deno does", async () => {
    const flags = ["--allow-run", "--allow-env=NODE_V8_COVERAGE"];
    await using program = fixture("pair_fail.ts", flags, [], { stdin: "piped" });
    assertEquals(await program.line(), "ready");
    const writer = program.stdin.getWriter();
    const counts: number[] = [];
    for (let i = 0; i < 3; i++) {
      await writer.write(encode("\n"));
      assertEquals(await program.line(), "done");
      counts.push([...Deno.readDirSync(`/proc/${program.pid}/fd`)].length);
    }
    await writer.close();
    writer.releaseLock();
    const left = counts[2]! - counts[1]!;
    // Deno opens and closes some of its own. If hardly any is left, remove the limit from the docs.
    assert(left > 15 && left < 25, `20 starts left ${left} descriptors`);
  });
}

test("pair() finds a program in the PATH of the child's own environment", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("uds-only-here"), "#!/bin/sh\necho found >&3\n", {
    mode: 0o755,
  });
  await using child = await pair("uds-only-here", { env: { PATH: `/nowhere:${dir.path}` } });
  assertEquals(decode(await readAll(child.conn)), "found\n");
});

test("pair() of a script without its interpreter does not report the program as missing", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("script"), "#!/nowhere/sh\n", { mode: 0o755 });
  const error = await refusal(dir.file("script"));
  const state = "its first line names an interpreter that does not exist, /nowhere/sh";
  assertEquals(error.message, `Cannot start "${dir.file("script")}": ${state}`);
});

for (const kind of ["a file that is not executable", "a directory"]) {
  test(`pair() of ${kind} rejects with PermissionDenied`, async () => {
    await using dir = new TempDir();
    const path = dir.file("program");
    if (kind === "a directory") await Deno.mkdir(path);
    else await Deno.writeTextFile(path, "#!/bin/sh\n", { mode: 0o644 });
    const error = await refusal(path);
    assertInstanceOf(error, Deno.errors.PermissionDenied);
    assertEquals(error.code, "EACCES");
    const state = kind === "a directory"
      ? "it is a directory"
      : "it is not executable for this user";
    assertEquals(error.message, `Cannot start ${JSON.stringify(path)}: ${state}`);
  });
}

test("pair() in a directory that does not exist names the directory", async () => {
  await using dir = new TempDir();
  const error = await refusal("sh", { cwd: dir.file("absent") });
  assertInstanceOf(error, Deno.errors.NotFound);
  assertStringIncludes(error.message, `"${dir.file("absent")}"`);
});

test("pair() in a cwd that is a file reports that, and not a missing program", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("file"), "");
  const error = await refusal("sh", { cwd: dir.file("file") });
  assertStringIncludes(error.message, `"${dir.file("file")}"`);
});

test("pair() with more arguments than the system takes does not report the program's mode", async () => {
  const error = await refusal("true", { args: ["x".repeat(3_000_000)] });
  assertEquals(error.code, "E2BIG");
  assert(!(error instanceof Deno.errors.PermissionDenied), `${error}`);
  assert(!error.message.includes("executable"), error.message);
});

for (
  const [name, command, options] of [
    ["a program that does not exist", "uds-no-such-program", {}],
    ["a directory", ROOT, {}],
    ["a file that is not executable", file("pair_peer.sh"), {}],
    ["a cwd that does not exist", "sh", { cwd: "/nowhere/at/all" }],
  ] as [string, string, PairOptions][]
) {
  test(`pair() leaves no descriptor and no process where it fails: ${name}`, async () => {
    const [processes, before] = [children(), openDescriptors()];
    for (let i = 0; i < 10; i++) {
      await refusal(command, { ...options, stdin: "piped", stdout: "piped" });
    }
    assertNoneLeft(before);
    assertEquals(children(), processes);
  });
}

/** Arguments of which a part would be ignored or replaced, so that something else is started. */
const MISREAD: Record<string, [command: string | URL, options: unknown, message: string]> = {
  "a cwd with a host": ["true", { cwd: new URL("file://host/tmp") }, `cwd "file://host/tmp": `],
  "a cwd with a hash": ["true", { cwd: new URL("file:///tmp#1") }, `cwd "file:///tmp#1": `],
  "a cwd with a query": ["true", { cwd: new URL("file:///tmp?1") }, `cwd "file:///tmp?1": `],
  "a cwd with a NUL": ["true", { cwd: new URL("file:///tmp%00") }, "contains a NUL"],
  "a cwd that is not UTF-8": ["true", { cwd: new URL("file:///%ff") }, "not those of UTF-8"],
  "a surrogate in a cwd": ["true", { cwd: "/\ud800" }, "Invalid cwd"],
  "a surrogate in an argument": ["true", { args: ["\ud800"] }, "Invalid args[0]"],
  "a surrogate in a variable": ["true", { env: { A: "\ud800" } }, "Invalid env.A"],
  "a surrogate in a name": ["true", { env: { "\ud800": "" } }, "Invalid name of a variable"],
  "a surrogate in a program": ["\ud800", {}, "Invalid command"],
  "a module with a host": [new URL("file://host/w.ts"), {}, `command "file://host/w.ts": `],
  "a module that is not UTF-8": [new URL("file:///%ff.ts"), {}, "not those of UTF-8"],
  "a module with a NUL": [new URL("file:///%00.ts"), {}, "contains a NUL"],
};

for (const name of ["modules", "permissions.read", "permissions.write"]) {
  for (const href of ["file://host/", "file:///a#b", "file:///a?b", "file:///%ff", "file:///%00"]) {
    const [, kind] = name.split(".");
    const options = kind === undefined
      ? { modules: [new URL(href)] }
      : { permissions: { [kind]: [new URL(href)] } };
    MISREAD[`${name} ${href}`] = [
      new URL("file:///w.ts"),
      options,
      `Invalid ${name}[0] "${href}": `,
    ];
  }
}

for (const [name, [command, options, message]] of Object.entries(MISREAD)) {
  test(`pair() refuses what would be misread: ${name}`, async () => {
    await assertRejects(() => pair(command, options as PairOptions), TypeError, message);
  });
}

test("permissionFlags() refuses a URL of which a part would be ignored", () => {
  for (const href of ["file://host/", "file:///a#b", "file:///a?b"]) {
    assertThrows(() => permissionFlags({ read: [new URL(href)] }), TypeError, `"${href}"`);
  }
});

test("pair() of a relative path names the cause if the working directory was removed", async () => {
  await using dir = new TempDir();
  await Deno.writeTextFile(dir.file("w.ts"), "");
  const module = new URL(`file://${dir.file("w.ts")}`);
  const gone = dir.file("gone");
  await Deno.mkdir(gone);
  const before = Deno.cwd();
  Deno.chdir(gone);
  await Deno.remove(gone);
  try {
    const start = `Cannot start "${module.href}": a path in its options is relative`;
    for (const options of [{ modules: ["x"] }, { permissions: { read: ["x"] } }]) {
      const error = await assertRejects(() => pair(module, options), Deno.errors.NotFound, start);
      assertEquals((error as Error & { operation?: string }).operation, "pair");
    }
    const message = `Cannot start "./x": the program does not exist`;
    await assertRejects(() => pair("./x"), Deno.errors.NotFound, message);
    await using child = await pair("sh", { args: ["-c", "echo here >&3"], stderr: "null" });
    assertEquals(decode(await readAll(child.conn)), "here\n");
  } finally {
    Deno.chdir(before);
  }
});

test("pair() without a free descriptor rejects, also the first time, and works when there is one", async () => {
  const program = `
    import { pair } from "@uds/uds";
    Deno.addSignalListener("SIGUSR1", () => {}); // without one, Deno 2.9.6 ends by itself
    const files = [];
    try { for (;;) files.push(Deno.openSync("/dev/null")); } catch { /* none is left */ }
    const start = () => pair("true").then((child) => child.status, (error) => error);
    const errors = [await start(), await start()];
    for (const file of files) file.close();
    for (const { operation, code, message } of errors) console.log(operation, code, message);
    console.log((await start()).code);
    Deno.exit();`;
  const deno = [
    Deno.execPath(),
    "eval",
    "--quiet",
    `--config=${ROOT}deno.json`,
    "--no-lock",
    program,
  ];
  const { stdout } = await run("sh", ["-c", `ulimit -n 64; exec "$0" "$@"`, ...deno]);
  const refusal = `pair EMFILE Cannot start "true": this process has too many open files. ` +
    `Raise its limit (ulimit -n)\n`;
  assertEquals(stdout, `${refusal}${refusal}0\n`);
});
