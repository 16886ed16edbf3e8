import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { permissionFlags, permissions, serve } from "@uds/uds";
import { denoArgs, fixture, makeStale, run, TempDir, test } from "./_helpers.ts";

const MESSAGE = "This is the message. It will be repeated.";

/** The command line with every permission, or with the flags given. */
function uds(args: string[], flags = ["-A"]) {
  return run(Deno.execPath(), denoArgs("./cli.ts", flags, args));
}

test("uds echo and uds send pass a message in pieces, with the permissions named", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const serving = permissionFlags(permissions("serve", path));
  await using server = fixture("./cli.ts", serving, [
    "echo",
    path,
    "--mode",
    "640",
    "--piece",
    "16",
  ]);
  const talk = server.stderr();
  // There is nothing on standard output to wait for: send tries until the server listens.
  const connecting = permissionFlags(permissions("connect", path));
  let reply;
  do {
    reply = await uds(["send", path, MESSAGE, "--piece", "16"], connecting);
  } while (reply.code === 3);
  assertEquals(reply, {
    code: 0,
    stdout: MESSAGE,
    stderr: 'received "This is the mess"\nreceived "age. It will be "\nreceived "repeated."\n',
  });
  assertEquals((await Deno.lstat(path)).mode! & 0o777, 0o640);
  server.kill("SIGTERM");
  assertEquals((await server.status).code, 0);
  assertEquals(dir.list(), []);
  assertMatch(
    await talk,
    /^listening on .*e\.sock\nreceived "This is the mess", sending it back\n/,
  );
});

test("uds echo ends at once at the second signal", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  await using server = fixture("./cli.ts", ["-A"], ["echo", path]);
  // A client that stays keeps the first, graceful end waiting.
  let conn;
  while (conn === undefined) {
    conn = await Deno.connect({ transport: "unix", path }).catch(() => undefined);
  }
  await conn.write(new Uint8Array(1));
  await conn.read(new Uint8Array(1));
  server.kill("SIGINT");
  while (dir.list().length > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  server.kill("SIGINT");
  assertEquals((await server.status).signal, "SIGINT");
  conn.close();
});

test("uds echo serves an abstract name as @name", async () => {
  if (Deno.build.os !== "linux") return;
  const name = `uds-test-${crypto.randomUUID()}`;
  await using server = fixture("./cli.ts", ["--allow-net"], ["echo", `@${name}`]);
  let reply;
  do reply = await uds(["send", `@${name}`, "hello"], ["--allow-net"]); while (reply.code !== 0);
  assertEquals(reply.stdout, "hello");
  server.kill("SIGTERM");
  assertEquals((await server.status).code, 0);
  assertStringIncludes(await server.stderr(), `listening on @${name}`);
});

const REFUSALS: [what: string, args: string[], code: number, message: string][] = [
  ["no command", [], 2, "there is no command"],
  ["an unknown command", ["sned"], 2, 'there is no command "sned"'],
  ["a property of every object as a command", ["toString"], 2, 'there is no command "toString"'],
  ["a missing path", ["echo"], 2, "PATH is missing"],
  ["a missing message", ["send", "/tmp/x"], 2, "MESSAGE is missing"],
  ["an argument too many", ["echo", "/tmp/x", "y"], 2, 'too many: "y"'],
  ["an unknown option", ["echo", "/tmp/x", "--moed", "600"], 2, "--moed"],
  ["a mode that is not octal", ["echo", "/tmp/x", "--mode", "689"], 2, "three octal digits"],
  ["a mode without owner write", ["echo", "/tmp/x", "--mode", "400"], 2, "0o400"],
  ["a piece of no bytes", ["echo", "/tmp/x", "--piece", "0"], 2, "at least 1"],
  ["a path that is too long", ["send", `/${"x".repeat(200)}`, "m"], 2, "201 bytes"],
  ["a path where nothing is", ["send", "/nowhere/at/all.sock", "m"], 3, "no such file"],
  ["a file that is no socket", ["send", "/etc/passwd", "m"], 7, "a regular file"],
];

for (const [what, args, code, message] of REFUSALS) {
  test(`uds refuses ${what} with exit code ${code}`, async () => {
    const { code: exit, stdout, stderr } = await uds(args);
    assertEquals([exit, stdout], [code, ""]);
    assertMatch(stderr, /^uds: /);
    assertStringIncludes(stderr, message);
    assert(!stderr.includes("    at "), "no stack trace");
  });
}

test("uds send says that a socket file is stale, with exit code 4", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await makeStale(path);
  const { code, stderr } = await uds(["send", path, "m"]);
  assertEquals(code, 4);
  assertStringIncludes(stderr, "nobody listens on it");
});

test("uds echo says who has the path, with exit code 5", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async () => {});
  const { code, stderr } = await uds(["echo", dir.file("s.sock")]);
  assertEquals(code, 5);
  assertStringIncludes(stderr, `process ${Deno.pid}`);
});

test("uds names the permission that is missing, with exit code 9, and does not prompt", async () => {
  const { code, stderr } = await uds(["send", "/run/a.sock", "m"], ["--allow-read=/run/a.sock"]);
  assertEquals(code, 9);
  assertMatch(stderr, /--allow-write=\/run\/a\.sock --allow-net=unix:\/run\/a\.sock\n$/);
});

for (const args of [["--help"], ["help"], ["echo", "--help"], ["send", "-h"]]) {
  test(`uds ${args.join(" ")} prints the help, without a permission`, async () => {
    const { code, stdout } = await uds(args, []);
    assertEquals(code, 0);
    assertMatch(stdout, /^uds.*:.*\n\n {2}uds /);
  });
}

test("uds send sends what looks like an option after --", async () => {
  await using dir = new TempDir();
  await using _server = await serve(
    dir.file("s.sock"),
    (conn) => conn.readable.pipeTo(conn.writable),
  );
  const { code, stdout } = await uds(["send", dir.file("s.sock"), "--", "--help"]);
  assertEquals([code, stdout], [0, "--help"]);
});

test("uds send ends quietly where nobody reads its output any more", async () => {
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    for (let i = 0; i < 64; i++) await conn.write(new Uint8Array(64 * 1024).fill(120));
  });
  const send = [
    Deno.execPath(),
    ...denoArgs("./cli.ts", ["-A"], ["send", dir.file("s.sock"), "m"]),
  ];
  const { stdout, stderr } = await run("sh", ["-c", '"$@" | head -c 5', "sh", ...send]);
  assertEquals([stdout, stderr], ["xxxxx", ""]);
});

test("uds send says that its output cannot be written", async () => {
  if (Deno.build.os !== "linux") return;
  await using dir = new TempDir();
  await using _server = await serve(dir.file("s.sock"), async (conn) => {
    await conn.write(new Uint8Array(10));
  });
  const send = [
    Deno.execPath(),
    ...denoArgs("./cli.ts", ["-A"], ["send", dir.file("s.sock"), "m"]),
  ];
  const { code, stderr } = await run("sh", ["-c", '"$@" >/dev/full', "sh", ...send]);
  assertEquals(code, 1);
  assertMatch(stderr, /^uds: Cannot write to standard output: .*space/);
});

test("uds --version prints the version of the package", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../deno.json", import.meta.url)));
  assertEquals((await uds(["--version"], [])).stdout, `uds ${version}\n`);
});
