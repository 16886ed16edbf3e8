import { connect } from "@uds/uds";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { decode, encode, fixturePath, Program, readAll, TempDir, test } from "../_helpers.ts";
import { Process, udsCommand } from "../_cli.ts";

const ALL = ["-A"];
const NEEDS = { needs: ["systemd-socket-activate"] };

/** Starts a command under the real program, at the first client. */
function activate(path: string, args: string[], options: string[] = [], flags = ALL): Process {
  const passed = ["PATH", "HOME", "DENO_DIR", "NOTIFY_SOCKET"].flatMap((name) => ["-E", name]);
  const command = ["systemd-socket-activate", "-l", path, ...options, ...passed];
  return new Process([...command, ...udsCommand(args, flags)]);
}

/** Sends a text to a socket that is there soon, and returns the answer. */
async function ask(path: string, text: string): Promise<string> {
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(encode(text));
  await conn.closeWrite();
  return decode(await readAll(conn));
}

for (
  const [line, answer] of [
    [["echo", "PATH"], "hello"],
    [["serve", "PATH", "--", "tr", "a-z", "A-Z"], "HELLO"],
    [["serve", "--systemd", "--reply", "pong", "PATH"], "pong"],
  ] as const
) {
  test(`uds ${line.join(" ")} serves the socket of a service manager, and leaves it`, async () => {
    await using dir = new TempDir();
    const path = dir.file("app.sock");
    const args = line.map((word) => word === "PATH" ? path : word);
    await using process = activate(path, args, [`--fdname=${path}`]);
    assertEquals(await ask(path, "hello"), answer);
    process.kill("SIGTERM");
    const { code, stderr } = await process.ended;
    assertEquals(code, 0, stderr);
    assertMatch(stderr, new RegExp(`listening on ${path}`));
    assertEquals(dir.list(), ["app.sock"]);
  }, NEEDS);
}

test("uds serve --allow-user identifies the clients of the socket from the manager", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const line = ["serve", "--reply", "pong", path, "--allow-user"];
  for (const [user, answer] of [[`${Deno.uid()}`, "pong"], ["54321", "refused"]] as const) {
    await using process = activate(path, [...line, user]);
    assertEquals(await ask(path, "ping").catch(() => "refused"), answer);
    process.kill("SIGTERM");
    assertEquals((await process.ended).code, 0);
    await Deno.remove(path);
  }
}, NEEDS);

test("uds listen and uds relay serve the socket of a service manager", async () => {
  await using dir = new TempDir();
  const [first, second] = [dir.file("listen.sock"), dir.file("relay.sock")];
  await using listener = activate(first, ["listen", "--systemd", first]);
  assertEquals(await ask(first, "hello"), "");
  assertEquals(decode((await listener.ended).stdout), "hello");

  await using _echo = new Process(udsCommand(["echo", dir.file("echo.sock")], ALL));
  await using relay = activate(second, ["relay", second, dir.file("echo.sock")]);
  assertEquals(await ask(second, "relayed"), "relayed");
  relay.kill("SIGTERM");
  assertEquals((await relay.ended).code, 0);
  assertEquals(dir.list().filter((name) => !name.startsWith("echo")), [
    "listen.sock",
    "relay.sock",
  ]);
}, NEEDS);

test("uds echo takes the socket with the name of its path", async () => {
  await using dir = new TempDir();
  const [first, second] = [dir.file("first.sock"), dir.file("second.sock")];
  const options = ["-l", second, "--fdname=first:second.socket"];
  await using process = activate(first, ["echo", second], options);
  assertEquals(await ask(second, "hello"), "hello");
  process.kill("SIGTERM");
  assertEquals((await process.ended).code, 0);
}, NEEDS);

for (
  const [args, code, message, options] of [
    [["echo"], 5, /has opened "\/other" for this process. Set FileDescr/, ["--fdname=/other"]],
    [["echo"], 5, /accepts by itself \(Accept=yes\).*StandardInput=socket/, [
      "--fdname=connection",
    ]],
    [["echo", "--mode", "660"], 2, /--mode is for a socket of its own/, ["--fdname=x"]],
    [["serve", "--replace", "--reply", "x"], 2, /--replace is for a socket of its own/, []],
  ] as const
) {
  test(`uds ${args.join(" ")} refuses a socket of the manager: ${message}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("app.sock");
    await using process = activate(path, [...args, path], [...options]);
    await using _client = await connect({ path, wait: true, timeout: Infinity });
    const ended = await process.ended;
    assertEquals(ended.code, code, ended.stderr);
    assertMatch(ended.stderr, message);
  }, NEEDS);
}

test("uds serve and uds listen name --systemd where a service manager may listen", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("app.sock"), dir.file("app.ts")];
  await Deno.writeTextFile(file, "export const connection = () => {};");
  using _manager = Deno.listen({ transport: "unix", path });
  const lines = [["serve", "--module", file, path], ["serve", "--reply", "x", path], [
    "listen",
    path,
  ]];
  for (const line of lines) {
    await using process = new Process(udsCommand(line, ALL));
    const { code, stderr } = await process.ended;
    assertEquals(code, 5, stderr);
    assertMatch(
      stderr,
      /: a process that does not use its lock listens there\..*\. If a service manager listens there, let it start this command, with --systemd\n$/,
    );
  }
}, { deadline: 20_000 });

test("uds serve does not name --systemd where a datagram socket is", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  const script = "import socket, sys\n" +
    "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n" +
    "s.bind(sys.argv[1])\n" +
    "print('ready', flush=True)\n" +
    "s.recv(1)\n";
  await using program = new Program("python3", ["-c", script, path]);
  await program.line();
  await using process = new Process(udsCommand(["serve", "--reply", "x", path], ALL));
  const { code, stderr } = await process.ended;
  assertEquals(code, 5, stderr);
  assertMatch(stderr, /has a datagram or sequenced-packet socket there\..* choose another path\n$/);
}, { needs: ["python3"] });

test("uds echo --systemd without a manager fails, and --systemd is for a LISTEN unix:", async () => {
  await using dir = new TempDir();
  const path = dir.file("app.sock");
  await using process = new Process(udsCommand(["echo", "--systemd", path], ALL));
  const ended = await process.ended;
  assertEquals(ended.code, 3);
  assertMatch(ended.stderr, /no service manager has opened a socket for this process/);
  const line = ["relay", "--systemd", "tcp:127.0.0.1:9", path];
  await using relay = new Process(udsCommand(line, ALL));
  assertEquals((await relay.ended).code, 2);
  assertEquals(dir.list(), []);
});

test(
  "uds serve --systemd needs only what uds permissions names, and reports ready and stopping",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("app.sock");
    const flags = [
      "--allow-env=LISTEN_PID,LISTEN_FDS,LISTEN_FDNAMES,NOTIFY_SOCKET,SYSTEMD_EXEC_PID",
      "--allow-run=systemd-notify",
    ];
    const line = ["serve", "--systemd", "--reply", "pong", path];
    const named = new Process(udsCommand(["permissions", ...line], ALL));
    assertMatch(decode((await named.ended).stdout), new RegExp(flags.join(" ")));
    const activation = ["systemd-socket-activate", "-l", path];
    const passed = ["PATH", "HOME", "DENO_DIR", "NOTIFY_SOCKET"].flatMap((name) => ["-E", name]);
    const command = [...activation, ...passed, ...udsCommand(line, flags)];
    await using process = new Process([
      "python3",
      fixturePath("systemd_manager.py"),
      dir.file("notify"),
      ...command,
    ]);
    assertEquals(await ask(path, "ping"), "pong");
    await process.stdout.until("READY=1");
    process.kill("SIGTERM");
    const { stdout } = await process.ended;
    const lines = decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
    assertEquals(lines.flatMap(({ lines }) => lines ?? []), ["READY=1", "STOPPING=1"]);
    assertEquals(lines.at(-1), { code: 0 });
  },
  { needs: [...NEEDS.needs, "systemd-notify", "python3"] },
);

test(
  "uds serve --systemd --module serves the socket of the manager, and reports each reload",
  async () => {
    await using dir = new TempDir();
    const [path, file] = [dir.file("app.sock"), dir.file("app.ts")];
    const module = (version: number) =>
      `export const connection = async (c) => {
        await c.writeText("${version} " + Deno.pid);
        await c.closeWrite();
        for await (const _ of c.readable);
      };`;
    await Deno.writeTextFile(file, module(1));
    const line = ["serve", "--systemd", "--module", file, "--workers", "2", path];
    const named = new Process(udsCommand(["permissions", ...line], ALL));
    const flags = decode((await named.ended).stdout).match(/--allow-[^ \n]+/g) ?? [];
    assert(!flags.some((flag) => flag.includes("net")), `${flags}`);
    const passed = ["PATH", "HOME", "DENO_DIR", "NOTIFY_SOCKET"].flatMap((name) => ["-E", name]);
    await using manager = new Process([
      "python3",
      fixturePath("systemd_manager.py"),
      dir.file("notify"),
      "systemd-socket-activate",
      "-l",
      path,
      ...passed,
      // Only libc has the time of a reload with every version of systemd.
      ...udsCommand(line, [...flags, "--allow-ffi"]),
    ]);
    assertMatch(await ask(path, "hello"), /^1 \d+$/);
    await manager.stdout.until("READY=1");
    await Deno.writeTextFile(file, module(2));
    manager.kill("SIGHUP");
    await manager.stderr.until("reloaded");
    assertMatch(await ask(path, "hello"), /^2 \d+$/);
    await Deno.writeTextFile(file, "throw new Error('of today')");
    manager.kill("SIGHUP");
    await manager.stderr.until("of today. The workers that were not replaced go on");
    assertMatch(await ask(path, "hello"), /^2 \d+$/);
    await Deno.writeTextFile(file, module(3));
    // A worker that ends is replaced at the same descriptor.
    const pid = Number((await ask(path, "hello")).split(" ")[1]);
    Deno.kill(pid, "SIGKILL");
    await manager.stderr.until("was ended by SIGKILL");
    assertMatch(await ask(path, "hello"), /^[23] \d+$/);
    manager.kill("SIGTERM");
    const { stdout } = await manager.ended;
    const lines = decode(stdout).trimEnd().split("\n").map((line) => JSON.parse(line));
    const reported = lines.flatMap(({ lines }) => lines ?? []);
    assertEquals(reported.filter((text) => !text.startsWith("MONOTONIC_USEC=")), [
      "READY=1",
      "RELOADING=1",
      "READY=1",
      "RELOADING=1",
      "READY=1",
      "STOPPING=1",
    ]);
    assertEquals(reported.length, 8);
    assertEquals(lines.at(-1), { code: 0 });
    assertEquals(dir.list(), ["app.sock", "app.ts", "notify"]);
  },
  { needs: [...NEEDS.needs, "python3"], deadline: 20_000 },
);
