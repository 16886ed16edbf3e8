import { pair, type PairOptions } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { decode, readAll, TempDir, test } from "../_helpers.ts";
import { children, MODULE, shell, textOf, toFileUrl } from "./_pair.ts";

test("pair() with clearEnv passes the variables of `env` to the child, and the documented ones", async () => {
  const options: PairOptions = { clearEnv: true, env: { A: "1" }, stdout: "piped" };
  await using child = await pair("/usr/bin/env", options);
  const lines = (await new Response(child.stdout).text()).trim().split("\n");
  const own = lines.filter((line) => !line.startsWith("NODE_V8_COVERAGE="));
  assertEquals(own.sort(), ["A=1", "DENO_EXTRA_STDIO_FDS=3"]);
});

test("pair() takes cwd, env and args", async () => {
  await using dir = new TempDir();
  const script = 'printf "%s|" "$PWD" "$UDS_A" "$@" >&3';
  for (const cwd of [dir.path, toFileUrl(dir.path)]) {
    const options = { cwd, env: { UDS_A: "a = ü" }, args: ["--x", "", "two words"] };
    await using child = await shell(script, options);
    assertEquals(
      decode(await readAll(child.conn)),
      `${Deno.realPathSync(dir.path)}|a = ü|--x||two words|`,
    );
  }
});

test("pair() finds a relative program from the child's directory, whatever is here", async () => {
  await using dir = new TempDir();
  // A directory with this name exists in the project, where the tests run.
  const name = "tests";
  await Deno.writeTextFile(dir.file(name), "#!/bin/sh\necho there >&3\n", { mode: 0o755 });
  await using child = await pair(`./${name}`, { cwd: dir.path });
  assertEquals(decode(await readAll(child.conn)), "there\n");
});

for (
  const [clearEnv, said] of [[undefined, "1 b"], [false, "1 b"], [true, " b"]] as [
    boolean | undefined,
    string,
  ][]
) {
  test(`pair() with clearEnv ${clearEnv} passes the environment on, or none, and env comes before it`, async () => {
    Deno.env.set("UDS_PAIR_A", "1");
    Deno.env.set("UDS_PAIR_B", "2");
    try {
      await using child = await pair("/bin/sh", {
        args: ["-c", 'echo "$UDS_PAIR_A $UDS_PAIR_B" >&3'],
        env: { UDS_PAIR_B: "b" },
        ...(clearEnv !== undefined && { clearEnv }),
      });
      assertEquals(decode(await readAll(child.conn)), `${said}\n`);
    } finally {
      Deno.env.delete("UDS_PAIR_A");
      Deno.env.delete("UDS_PAIR_B");
    }
  });
}

for (
  const [name, args] of Object.entries({
    "none": [],
    "an unknown flag": ["--allow-nonsense"],
    "one that begins like one": ["--deny-x"],
  })
) {
  test(`pair() of Deno as a program adds no permission flag to arguments with ${name}`, async () => {
    await using dir = new TempDir();
    const script = dir.file("state.ts");
    await Deno.writeTextFile(
      script,
      'console.log(Deno.permissions.querySync({ name: "write" }).state)',
    );
    await using child = await pair(Deno.execPath(), {
      args: ["run", "--no-config", "--no-prompt", script, ...args],
      stdout: "piped",
    });
    assertEquals(await textOf(child.stdout), "prompt\n");
  });
}

for (
  const [name, command, options, message] of [
    ["no command", undefined, {}, "Invalid command"],
    ["a number", 1, {}, "Invalid command: expected a program"],
    ["an empty command", "", {}, 'got ""'],
    ["a command with a NUL", "a\0b", {}, "without NUL"],
    ["an http: URL", new URL("http://localhost/a.ts"), {}, '"http://localhost/a.ts"'],
    ["a data: URL", new URL("data:text/javascript,1"), {}, "file: URL"],
    ["null for options", "true", null, "Invalid options of pair()"],
    ["an array for options", "true", [], "Invalid options of pair()"],
    ["a string for options", "true", "args", "Invalid options of pair()"],
    ["an unknown option", "true", { arg: [] }, '"arg"'],
    ["a string for args", "true", { args: "a" }, "Invalid args: expected an array"],
    ["a number in args", "true", { args: ["a", 1] }, "Invalid args[1]"],
    ["a hole in args", "true", { args: Array(1) }, "Invalid args[0]"],
    ["a NUL in args", "true", { args: ["a\0b"] }, "Invalid args[0]"],
    ["a number for cwd", "true", { cwd: 1 }, "Invalid cwd"],
    ["an empty cwd", "true", { cwd: "" }, "Invalid cwd"],
    ["an http: URL for cwd", "true", { cwd: new URL("http://localhost/") }, "Invalid cwd"],
    ["a NUL in cwd", "true", { cwd: "/a\0" }, "Invalid cwd"],
    ["a string for env", "true", { env: "A=1" }, "Invalid env"],
    ["an array for env", "true", { env: ["A=1"] }, "Invalid env"],
    ["null for env", "true", { env: null }, "Invalid env"],
    ["an empty name in env", "true", { env: { "": "1" } }, "Invalid env"],
    ["a name with = in env", "true", { env: { "A=B": "1" } }, '"A=B"'],
    ["a name with a NUL in env", "true", { env: { "A\0": "1" } }, "Invalid env"],
    ["a value with a NUL in env", "true", { env: { A: "1\0" } }, "Invalid env.A"],
    ["a number in env", "true", { env: { A: 1 } }, "Invalid env.A"],
    ["undefined in env", "true", { env: { A: undefined } }, "Invalid env.A"],
    ["a number for clearEnv", "true", { clearEnv: 1 }, "Invalid clearEnv"],
    ["an unknown stdin", "true", { stdin: "pipe" }, 'Invalid stdin: expected "piped"'],
    ["null for stdout", "true", { stdout: null }, "Invalid stdout"],
    ["a number for stderr", "true", { stderr: 2 }, "Invalid stderr"],
    ["a string for grace", "true", { grace: "1" }, "Invalid grace"],
    ["null for grace", "true", { grace: null }, "Invalid grace"],
    ["a controller for signal", "true", { signal: new AbortController() }, "Invalid signal"],
    ["null for signal", "true", { signal: null }, "Invalid signal"],
    ["permissions for a program", "true", { permissions: "none" }, '"permissions" and "modules"'],
    ["modules for a program", "true", { modules: ["/a"] }, '"permissions" and "modules"'],
    ["an unknown word for permissions", MODULE, { permissions: "all" }, "permissions of pair"],
    ['"inherit" for permissions', MODULE, { permissions: "inherit" }, "permissions of pair"],
    ["null for permissions", MODULE, { permissions: null }, "permissions of pair"],
    ["an unknown kind of permission", MODULE, { permissions: { reed: true } }, '"reed"'],
    ['"inherit" for net', MODULE, { permissions: { net: "inherit" } }, "permissions.net"],
    ['"inherit" for read', MODULE, { permissions: { read: "inherit" } }, "permissions.read"],
    ["a string for net", MODULE, { permissions: { net: "a.org" } }, "net"],
    ["a string for read", MODULE, { permissions: { read: "/a" } }, "read"],
    ["a number in net", MODULE, { permissions: { net: [1] } }, "net"],
    ["a number in read", MODULE, { permissions: { read: [1] } }, "read"],
    ["a comma in read", MODULE, { permissions: { read: ["/a,b"] } }, '"/a,b"'],
    ["a string for modules", MODULE, { modules: "/a" }, "Invalid modules"],
    ["no directory in modules", MODULE, { modules: [] }, "modules"],
    ["a number in modules", MODULE, { modules: [1] }, "Invalid modules[0]"],
    ["an http: URL in modules", MODULE, { modules: [new URL("http://a/")] }, "Invalid modules[0]"],
    ["a comma in modules", MODULE, { modules: ["/a,b"] }, '"/a,b"'],
  ] as [string, unknown, unknown, string][]
) {
  test(`pair() refuses ${name} with a TypeError`, async () => {
    const before = children();
    const starting = (async () => {
      await using _child = await pair(command as string, options as PairOptions);
    })();
    const error = await assertRejects(() => starting, TypeError, message);
    assertEquals(error.constructor, TypeError);
    assertEquals(children(), before);
  });
}

for (const grace of [-1, 1.5, NaN, 2 ** 31]) {
  test(`pair() refuses ${grace} for grace with a RangeError`, async () => {
    await assertRejects(() => pair("true", { grace }), RangeError, "Invalid grace");
  });
}
