import { connect, serve } from "@uds/uds";
import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { FLAGS, onTerminal, Process, uds, udsCommand } from "../_cli.ts";
import { fixturePath, Program, readAll, readText, TempDir, test } from "../_helpers.ts";

/** libc's path alone is enough. */
const FFI = "--allow-ffi=/lib/x86_64-linux-gnu/libc.so.6,/lib/aarch64-linux-gnu/libc.so.6";
const ALL = [...FLAGS, "--allow-run", "--allow-env", FFI];

/** Starts a server of the command line, and waits until it listens. */
async function started(args: string[], flags = ALL): Promise<Process> {
  const process = new Process(udsCommand(args, flags));
  await process.stderr.until("listening");
  return process;
}

/** Connects as another user, until the server ends the connection. Returns the pid. */
async function connectAs(path: string, uid: number, gid: number, groups = ""): Promise<number> {
  await using client = new Program("python3", [
    fixturePath("native_client.py"),
    ...[path, String(uid), String(gid), groups, "stay"],
  ]);
  const pid = Number(await client.line());
  await client.status;
  return pid;
}

test(
  "uds serve --allow-user serves these users, and names another one that it refuses",
  async () => {
    await using dir = new TempDir(0o755);
    const path = dir.file("s.sock");
    await using server = await started(["serve", "--allow-user", "nobody,7", path, "--", "true"]);
    assertEquals(Deno.statSync(path).mode! & 0o777, 0o666);
    const users = [65534, 7, 8];
    const [, , pid] = await Promise.all(users.map((uid) => connectAs(path, uid, 5)));
    server.kill("SIGTERM");
    const { code, stderr } = await server.ended;
    assertEquals([code, stderr.split("\n")], [0, [
      `listening on ${path}`,
      `uds: Cannot authorize a client of "${path}": process ${pid} has uid 8, gid 5, and only uid ` +
      "65534, 7 may connect",
      "ending",
      "",
    ]]);
  },
  { root: true, needs: ["python3"] },
);

test("uds serve --allow-group serves members, also by a supplementary group", async () => {
  await using dir = new TempDir(0o755);
  const path = dir.file("s.sock");
  const mode = ["--mode", "777"];
  await using server = await started([
    "serve",
    "--allow-group",
    "adm",
    ...mode,
    path,
    "--",
    "true",
  ]);
  assertEquals(Deno.statSync(path).mode! & 0o777, 0o777);
  await Promise.all(["4", "5"].map((group) => connectAs(path, 7, 7, group)));
  server.kill("SIGTERM");
  const { stderr } = await server.ended;
  assertEquals(stderr.match(/Cannot authorize/g)?.length, 1);
  assertStringIncludes(stderr, "uid 7, gid 7, groups 5, and only gid 4 may connect");
}, { root: true, needs: ["python3"] });

test("uds serve --peer-env describes the client to the command", async () => {
  const script = "echo $UDS_PEER_PID $UDS_PEER_UID $UDS_PEER_GID";
  const path = `@uds-${crypto.randomUUID()}`;
  await using _server = await started(["serve", "--peer-env", path, "--", "sh", "-c", script]);
  await using conn = await connect(path.replace("@", "\0"));
  assertEquals(await readText(conn), `${Deno.pid} ${Deno.uid()} ${Deno.gid()}\n`);
});

const WITHOUT: [command: string, args: string[]][] = [
  ["serve --allow-user", ["serve", "--allow-user", "0", "--reply", "x", "PATH"]],
  ["serve --peer-env", ["serve", "--peer-env", "PATH", "--", "cat"]],
  ["tap --peer", ["tap", "--peer", "PATH", "unix:/nowhere.sock"]],
  ["ls --listeners", ["ls", "--listeners", "/nowhere"]],
];
for (const [command, args] of WITHOUT) {
  test(`uds ${command} without --allow-ffi names the flag, and does not start`, async () => {
    await using dir = new TempDir();
    const all = args.map((arg) => arg === "PATH" ? dir.file("s.sock") : arg);
    const { code, stderr } = await uds(all, { flags: [...FLAGS, "--allow-run", "--allow-env"] });
    assertEquals(code, 9);
    assertMatch(
      stderr,
      /^uds: Cannot identify clients: a Deno permission is missing\. Run again with --allow-ffi=\/\S+libc\.so\.6\n$/,
    );
    assertEquals(dir.list(), []);
  });
}

const WRONG: [args: string[], message: string][] = [
  [
    ["serve", "--allow-user", "no-such-user", "--reply", "x", "/s"],
    'Cannot use the user "no-such-user": /etc/passwd does not list it. Give its number',
  ],
  [
    ["serve", "--allow-group", "a,,b", "--reply", "x", "/s"],
    '--allow-group must be names, separated by commas, got "a,,b"',
  ],
  [["serve", "--peer-env", "--reply", "x", "/s"], "--peer-env needs CMD"],
  [["tap", "--peer", "tcp:127.0.0.1:9", "/s"], "--peer is for a LISTEN unix:"],
];
for (const [args, message] of WRONG) {
  test(`uds ${args.join(" ")} is refused`, async () => {
    const { code, stderr } = await uds(args, { flags: ALL });
    assertEquals([code, stderr.split("\n")[0]], [2, `uds: ${message}`]);
  });
}

test("uds tap --peer shows the process of each client", async () => {
  await using dir = new TempDir();
  const [path, target] = [dir.file("t.sock"), dir.file("a.sock")];
  await using _server = await serve(target, (conn) => conn.write(new Uint8Array(1)));
  const args = ["tap", "--peer", path, target];
  const exchange = async () => {
    await using conn = await connect(path);
    await readAll(conn);
  };
  await using json = new Process(udsCommand(args, ALL));
  await json.stderr.until("listening");
  await exchange();
  await json.stdout.until("close");
  const [line] = (await json.stdout.text()).split("\n");
  const { pid, uid, gid } = JSON.parse(line!).peer;
  assertEquals([pid, uid, gid], [Deno.pid, Deno.uid(), Deno.gid()]);
  json.kill("SIGTERM");
  await json.ended;

  await using terminal = new Process(["env", "NO_COLOR=1", ...onTerminal(udsCommand(args, ALL))]);
  await terminal.stdout.until("listening");
  await exchange();
  await terminal.stdout.until("#1 close");
  assertStringIncludes(
    await terminal.stdout.text(),
    `#1 open by process ${Deno.pid} of uid ${Deno.uid()}, gid ${Deno.gid()}`,
  );
});

test("uds ls --listeners names the process of a socket that is not this package's", async () => {
  await using dir = new TempDir();
  const path = dir.file("other.sock");
  using listener = Deno.listen({ transport: "unix", path });
  const accepting = listener.accept().then((conn) => conn.close());
  const again = accepting.then(() => listener.accept()).then((conn) => conn.close());
  const { stdout } = await uds(["ls", "--json", "--listeners", dir.path], { flags: ALL });
  const [entry] = JSON.parse(stdout);
  assertEquals([entry.path, entry.state, entry.listener], [path, "alive", Deno.pid]);
  await again;
});
