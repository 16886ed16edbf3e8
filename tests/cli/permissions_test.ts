import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "@std/path/posix";
import { parse } from "../../_cli/parse/command_line.ts";
import { COMMANDS } from "../../_cli/table.ts";
import { permissionFlags, permissions } from "@uds/uds";
import { Process, uds, udsCommand } from "../_cli.ts";
import { makeStale, ROOT, run, TempDir, test } from "../_helpers.ts";
import { echoServer } from "./_echo_server.ts";

const MISSING: [args: string[], wants: string][] = [
  [["connect", "/run/a.sock"], "--allow-net=unix:/run/a.sock"],
  [["send", "/run/a.sock", "m"], "--allow-net=unix:/run/a.sock"],
  [["probe", "/run/a.sock"], "--allow-net=unix:/run/a.sock"],
  [["echo", "/run/a.sock"], "--allow-net=unix:/run/a.sock"],
  [["listen", "/run/a.sock"], "--allow-net=unix:/run/a.sock"],
  [
    ["serve", "/run/a.sock", "--", "cat"],
    "--allow-net=unix:/run/a.sock --allow-run=sh --allow-env",
  ],
  [
    ["activate", "/run/a.sock", "--", "cat"],
    "--allow-net=unix:/run/a.sock --allow-run=sh --allow-env",
  ],
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

/** How to serve without the permissions to start a command. */
const UNSTARTABLE: [flags: string[], options: string[], wants: string][] = [
  [["-RWN"], [], "--allow-run=sh --allow-env"],
  [["-RWN", "--allow-run"], ["--replace", "--max", "4"], "--allow-env"],
  [["-RWN", "--allow-env", "--allow-run=getent"], ["--group", "root"], "--allow-run=sh"],
  [
    ["-A", "--deny-run"],
    [],
    "--allow-run=sh, and without the --deny flag that takes it away",
  ],
];

for (const [flags, options, wants] of UNSTARTABLE) {
  const line = [...flags, "uds serve", ...options].join(" ");
  test(`${line} ends with exit code 9, before it listens, if it cannot start CMD`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    await using process = new Process(udsCommand(["serve", ...options, path, "--", "cat"], flags));
    // It would go on.
    await process.stderr.until("listening");
    process.stop();
    const { code, stderr } = await process.ended;
    const remedy = `a Deno permission is missing. Run again with ${wants}\n`;
    assertEquals([code, stderr], [9, `uds: Cannot serve on "${path}": ${remedy}`]);
    assertEquals(dir.list(), []);
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
  test(`uds ${args.join(" ")} needs the permissions that the package names`, async () => {
    const parsed = await parse(args, COMMANDS);
    assert(typeof parsed !== "string");
    assertEquals(await parsed.needs(), set);
  });
}

test("uds permissions prints a line that a shell splits correctly", async () => {
  const args = ["send", "/run/it's a.sock", "--", "-$x\n"];
  const { code, stdout } = await uds(["permissions", ...args], { flags: [] });
  assertEquals(code, 0);
  const { stdout: words } = await run("sh", ["-c", `printf '%s\\0' ${stdout}`]);
  const flags = permissionFlags(permissions("connect", "/run/it's a.sock"));
  assertEquals(words.split("\0"), ["deno", "run", ...flags, join(ROOT, "cli.ts"), ...args, ""]);
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
