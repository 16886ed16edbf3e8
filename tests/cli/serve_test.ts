import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { connect } from "@uds/uds";
import { FLAGS, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, pseudoRandom, readAll, readText, TempDir, test } from "../_helpers.ts";

const RUN_FLAGS = [...FLAGS, "--allow-run", "--allow-env"];

/** Starts the command, and waits until it listens. */
async function serving(args: string[], flags = RUN_FLAGS): Promise<Process> {
  const process = new Process(udsCommand(["serve", ...args], flags));
  await process.stderr.until("listening on");
  return process;
}

/** Sends all data and the end of file. Returns the answer. */
async function exchange(path: string, data: Uint8Array | string): Promise<Uint8Array> {
  await using conn = await connect(path);
  const sent = conn.write(typeof data === "string" ? encode(data) : data)
    .then(() => conn.closeWrite()).catch(() => {});
  const all = await readAll(conn);
  await sent;
  return all;
}

test("uds serve starts a process for each connection, on its input and output", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using server = await serving([path, "--", "sh", "-c", "echo $$; tr a-z A-Z"]);
  const said = await Promise.all(["one", "two"].map((word) => exchange(path, word)));
  const [[first, one], [second, two]] = said.map((all) => decode(all).split("\n")) as [
    string[],
    string[],
  ];
  assertEquals([one, two], ["ONE", "TWO"]);
  assert(first !== second, `${first} and ${second} are two processes`);
  server.kill("SIGTERM");
  const { code, stdout, stderr } = await server.ended;
  assertEquals([code, decode(stdout)], [0, ""]);
  assertEquals(stderr, `listening on ${path}\nending\n`);
  assertEquals(dir.list(), []);
});

test("uds serve passes 8 MiB each way, and each end", async () => {
  await using dir = new TempDir();
  await using _server = await serving([dir.file("s.sock"), "--", "cat"]);
  const data = pseudoRandom(8 * 1024 * 1024, 3);
  const back = await exchange(dir.file("s.sock"), data);
  assertEquals(back.length, data.length);
  assert(back.every((byte, i) => byte === data[i]));
});

test("uds serve delivers the output of a process that did not read its input", async () => {
  await using dir = new TempDir();
  await using server = await serving([dir.file("s.sock"), "--", "sh", "-c", "echo no; exit 3"]);
  await using conn = await connect(dir.file("s.sock"));
  // More than the kernel holds, so some is left when the process has ended.
  const sent = conn.write(new Uint8Array(4 * 1024 * 1024)).catch(() => {});
  assertEquals(await readText(conn), "no\n");
  await server.stderr.until("ended with 3");
  assertMatch(await server.stderr.text(), /^process \d+ ended with 3$/m);
  conn.close();
  await sent;
});

test("uds serve closes the connection of a process that ends, whatever its client does", async () => {
  await using dir = new TempDir();
  await using _server = await serving([dir.file("s.sock"), "--", "echo", "bye"]);
  await using conn = await connect(dir.file("s.sock"));
  // The client has not sent the end of file.
  assertEquals(decode(await readAll(conn)), "bye\n");
});

test("uds serve ends the input of a process when its client has left", async () => {
  await using dir = new TempDir();
  const script = "cat > /dev/null; echo over >&2";
  await using server = await serving([dir.file("s.sock"), "--", "sh", "-c", script]);
  {
    using conn = await connect(dir.file("s.sock"));
    await conn.write(encode("x"));
  }
  await server.stderr.until("over");
});

test("uds serve --max makes further clients wait", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using _server = await serving(["--max", "1", path, "--", "sh", "-c", "echo in; cat"]);
  await using first = await connect(path);
  assertEquals(await readText(first), "in\n");
  await using second = await connect(path);
  let served = false;
  const greeting = readText(second).then((text) => {
    served = true;
    return text;
  });
  // A round trip of the first client, in which the second one could have been greeted.
  await first.write(encode("x"));
  assertEquals(await readText(first), "x");
  assertEquals(served, false);
  first.close();
  assertEquals(await greeting, "in\n");
});

test("uds serve --idle closes a connection on which nothing passes, and ends its process", async () => {
  await using dir = new TempDir();
  await using server = await serving(["--idle", "0.2", dir.file("s.sock"), "--", "cat"]);
  await using conn = await connect(dir.file("s.sock"));
  await conn.write(encode("x"));
  assertEquals(decode(await readAll(conn)), "x");
  await server.stderr.until("nothing has passed for 0.2 s");
});

test("uds serve leaves no process behind, though it ignores SIGTERM", async () => {
  await using dir = new TempDir();
  const script = 'trap "" TERM; echo $$; while :; do sleep 1; done';
  await using server = await serving([dir.file("s.sock"), "--", "sh", "-c", script]);
  await using conn = await connect(dir.file("s.sock"));
  const pid = Number(await readText(conn));
  server.kill("SIGTERM");
  assertEquals((await server.ended).code, 0);
  // It was killed with SIGKILL and reaped before the server ended.
  assertThrows(() => Deno.kill(pid, 0 as unknown as Deno.Signal), Deno.errors.NotFound);
}, { deadline: 15_000 });

test("uds serve --group and --mode set group and mode, a name by /etc/group", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  for (
    const [options, mode, gid] of [
      [["--group", "root"], 0o660, 0],
      [["--group", "54321", "--mode", "620"], 0o620, 54321],
    ] as const
  ) {
    await using server = await serving([...options, path, "--", "cat"]);
    const found = await Deno.lstat(path);
    assertEquals([found.mode! & 0o777, found.gid], [mode, gid]);
    server.kill("SIGTERM");
    assertEquals((await server.ended).code, 0);
  }
}, { root: true });

test("uds serve --replace takes the path over, and the old server goes on serving its clients", async () => {
  await using dir = new TempDir();
  const args = (word: string) => {
    return ["--replace", dir.file("s.sock"), "--", "sh", "-c", `echo ${word}; cat`];
  };
  await using old = await serving(args("old"));
  await using conn = await connect(dir.file("s.sock"));
  assertEquals(await readText(conn), "old\n");
  await using _successor = await serving(args("new"));
  await old.stderr.until("replaced");
  assertEquals(decode(await exchange(dir.file("s.sock"), "")), "new\n");
  await conn.write(encode("x"));
  assertEquals(await readText(conn), "x");
  await conn.closeWrite();
  assertEquals((await old.ended).code, 0);
  assertEquals(decode(await exchange(dir.file("s.sock"), "y")), "new\ny");
});

for (
  const [what, args, exit, message] of [
    ["no command", ["/tmp/x.sock"], 2, "PATH -- CMD"],
    ["a group that there is not", ["--group", "no such", "/tmp/x.sock", "--", "cat"], 2, "no such"],
  ] as const
) {
  test(`uds serve refuses ${what}`, async () => {
    const { code, stderr } = await uds(["serve", ...args], { flags: RUN_FLAGS });
    assertEquals(code, exit);
    assertStringIncludes(stderr, message);
  });
}

test("uds serve works with the permissions that uds permissions prints", async () => {
  await using dir = new TempDir();
  const args = [dir.file("s.sock"), "--", "cat"];
  const { stdout } = await uds(["permissions", "serve", ...args], { flags: [] });
  const flags = stdout.split(" ").filter((word) => word.startsWith("--allow"));
  await using _server = await serving(args, flags);
  assertEquals(decode(await exchange(dir.file("s.sock"), "hello")), "hello");
});
