import { connect } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { decode, encode, fixturePath, readAll, TempDir, test } from "../_helpers.ts";
import { delay } from "../server/_server.ts";
import { Process, udsCommand } from "../_cli.ts";

/** Starts the command, with the permissions that it names. */
async function activate(path: string, args: string[]): Promise<Process> {
  const line = ["activate", path, ...args];
  const named = new Process(udsCommand(["permissions", ...line], ["-A"]));
  const flags = decode((await named.ended).stdout).match(/--allow-[^ ]+/g) ?? [];
  const process = new Process(udsCommand(line, flags));
  await process.stderr.until("listening");
  return process;
}

async function ask(path: string, text: string): Promise<string> {
  await using conn = await connect(path);
  await conn.write(encode(text));
  await conn.closeWrite();
  return decode(await readAll(conn));
}

test(
  "uds activate starts a command at each first client, and removes the path at its end",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const program = ["python3", fixturePath("activated.py")];
    await using process = await activate(path, ["--name", "given", "--", ...program]);
    // A user that may not write to a socket cannot connect.
    assertEquals((await Deno.lstat(path)).mode! & 0o022, 0);
    assert(!(await process.stderr.text()).includes("started"));
    // The second one waits while the program ends and starts again.
    const answers = await Promise.all(["one", "two"].map((text) => ask(path, text)));
    assertEquals(answers, ["given: one", "given: two"]);
    // Without a client it does not start.
    await delay(200);
    process.kill("SIGTERM");
    const { code, stderr } = await process.ended;
    assertEquals(code, 0, stderr);
    assertEquals(stderr.match(/started process/g)?.length, 2);
    assertEquals(dir.list(), []);
  },
  { needs: ["python3"] },
);

test("uds activate passes its socket to the command once", async () => {
  await using dir = new TempDir();
  const [path, count] = [dir.file("a.sock"), dir.file("count")];
  const script = `readlink /proc/$$/fd/* | grep -cF "$(readlink /proc/$$/fd/3)" > "$0"; exit 1`;
  await using process = await activate(path, ["--", "sh", "-c", script, count]);
  await using _client = await connect(path);
  await process.stderr.until("ended with 1");
  assertEquals(await Deno.readTextFile(count), "1\n");
  process.kill("SIGTERM");
  await process.ended;
});

test("uds activate stops the command that it has started", async () => {
  await using dir = new TempDir();
  const path = dir.file("e.sock");
  const command = udsCommand(["echo", "--systemd", path], ["-A"]);
  await using process = await activate(path, ["--", ...command]);
  assertEquals(await ask(path, "hello"), "hello");
  assertEquals(await ask(path, "again"), "again");
  process.kill("SIGTERM");
  const { code, stderr } = await process.ended;
  assertEquals(code, 0, stderr);
  const [, pid] = /started process (\d+)/.exec(stderr)!;
  assert(!stderr.includes("SIGKILL"));
  await Deno.lstat(`/proc/${pid}`).then(() => assert(false, "it runs"), () => {});
  assertEquals(dir.list(), []);
});

test("uds activate ends after 8 failures in a row", async () => {
  await using dir = new TempDir();
  const path = dir.file("f.sock");
  await using process = await activate(path, ["--", "sh", "-c", "exit 3"]);
  await using client = await connect(path);
  const { code, stderr } = await process.ended;
  assertEquals(code, 1);
  assertMatch(
    stderr,
    /Cannot serve on ".*f.sock": the command has failed 8 times in a row, at last with 3/,
  );
  assertEquals(stderr.match(/started process/g)?.length, 8);
  assertEquals(
    await client.read(new Uint8Array(1)).catch((error) => error.name),
    "ConnectionReset",
  );
  assertEquals(dir.list(), []);
});

test("uds activate passes on a socket in blocking mode, as systemd does", async () => {
  await using dir = new TempDir();
  const path = dir.file("b.sock");
  // The second accept() waits, which fails in non-blocking mode.
  const script = `import socket
s = socket.socket(fileno=3)
for _ in range(2): s.accept()[0].sendall(b"hello")`;
  await using process = await activate(path, ["--", "python3", "-c", script]);
  for (let i = 0; i < 2; i++) {
    await using conn = await connect(path);
    assertEquals(decode(await readAll(conn)), "hello");
  }
  process.kill("SIGTERM");
  const { code, stderr } = await process.ended;
  assertEquals([code, stderr.match(/started process/g)?.length], [0, 1], stderr);
}, { needs: ["python3"] });

test("uds activate leaves the socket that another server has put at its path", async () => {
  await using dir = new TempDir();
  const path = dir.file("o.sock");
  await using process = await activate(path, ["--", "true"]);
  await Deno.remove(path);
  using _other = Deno.listen({ transport: "unix", path });
  process.kill("SIGTERM");
  const { code, stderr } = await process.ended;
  assertEquals(code, 0, stderr);
  assertEquals(dir.list(), ["o.sock"]);
});

test("uds activate removes the path at a signal, and kills the command at a second one", async () => {
  await using dir = new TempDir();
  const path = dir.file("k.sock");
  const script = 'trap "" TERM; echo $$; exec sleep 20';
  await using process = await activate(path, ["--", "sh", "-c", script]);
  await using _client = await connect(path);
  await process.stdout.until("\n");
  const pid = Number(await process.stdout.text());
  process.kill("SIGTERM");
  while (dir.list().length > 0) await delay(5);
  // Until then a signal counts as the first one.
  await delay(550);
  process.kill("SIGTERM");
  assertEquals((await process.ended).code, 143);
  // Its new parent may not have collected it yet.
  const state = () => Deno.readTextFile(`/proc/${pid}/stat`).catch(() => ") Z");
  while ((await state()).includes(") S")) await delay(5);
});

test("uds activate restarts a command that takes no client at most ten times a second", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  await using process = await activate(path, ["--", "true"]);
  await using _client = await connect(path);
  const begin = performance.now();
  await delay(1000);
  process.kill("SIGTERM");
  const { stderr } = await process.ended;
  const starts = stderr.match(/started process/g)!.length;
  assert(starts <= 2 + (performance.now() - begin) / 100, `${starts} starts`);
});

test("uds activate and uds serve refuse an empty CMD before they listen", async () => {
  await using dir = new TempDir();
  for (const command of ["activate", "serve"]) {
    const process = new Process(udsCommand([command, dir.file("a.sock"), "--", ""], ["-A"]));
    await process.stderr.until("listening");
    process.stop();
    const { code, stderr } = await process.ended;
    assertEquals(code, 2, stderr);
    assertMatch(stderr, /^uds: CMD must be a program, got ""\n/);
  }
  assertEquals(dir.list(), []);
});

for (const name of ["", "a:b", "\t", "é", "a".repeat(256)]) {
  test(`uds activate refuses the name ${JSON.stringify(name.slice(0, 4))}`, async () => {
    await using dir = new TempDir();
    const line = ["activate", "--name", name, dir.file("a.sock"), "--", "true"];
    const process = new Process(udsCommand(line, ["-A"]));
    await process.stderr.until("listening");
    process.stop();
    const { code, stderr } = await process.ended;
    assertEquals(code, 2, stderr);
    assertMatch(
      stderr,
      /^uds: --name must be 1 to 255 printable ASCII characters without ":", got/,
    );
  });
}

test("uds activate takes each name that systemd takes", async () => {
  await using dir = new TempDir();
  const path = dir.file("n.sock");
  const name = `a ~!${"b".repeat(251)}`;
  const print = 'echo "$LISTEN_FDNAMES"; sleep 20';
  await using process = await activate(path, ["--name", name, "--", "sh", "-c", print]);
  await using _client = await connect(path);
  await process.stdout.until("\n");
  assertEquals(await process.stdout.text(), `${name}\n`);
  process.kill("SIGTERM");
  await process.ended;
});

test("uds activate shows the whole path in its errors", async () => {
  await using dir = new TempDir();
  const line = udsCommand(["activate", "a.sock", "--", "true"], []);
  const { code, stderr } = await new Process(line, { cwd: dir.path }).ended;
  assertEquals(code, 9);
  assertMatch(
    stderr,
    new RegExp(`^uds: Cannot serve on "${dir.file("a.sock")}": a Deno permission`),
  );
});
