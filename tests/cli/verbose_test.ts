import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, probe, serve, type UnixServer } from "@uds/uds";
import { FLAGS, Process, udsCommand } from "../_cli.ts";
import { TempDir, test } from "../_helpers.ts";

/**
 * Sends a short text and a long one to a socket, reads the first byte of each answer, and closes:
 * the kernel resets the rest. Deno would end its direction first, which may hide that.
 */
const LEAVE = `use Socket;
for my $text ("hello\\n", "hello\\n" x 20_000) {
  socket(my $client, AF_UNIX, SOCK_STREAM, 0) || die $!;
  connect($client, sockaddr_un($ARGV[0])) || die $!;
  syswrite($client, $text) == length $text || die $!;
  sysread($client, my $byte, 1);
}`;

/** The serving commands, after their options. `s` is the path, `target` that of an echo. */
const COMMANDS: [name: string, args: (path: string, target: string) => string[]][] = [
  ["echo", (path) => ["echo", path]],
  ["serve --reply", (path) => ["serve", "--reply", "pong", path]],
  ["serve --reply --framing", (path) => ["serve", "--framing", "lines", "--reply", "pong", path]],
  ["serve CMD", (path) => ["serve", path, "--", "cat"]],
  ["relay", (path, target) => ["relay", path, target]],
  ["tap", (path, target) => ["tap", path, target]],
];

/** Starts an echo, which says nothing about the clients that leave. */
function target(path: string): Promise<UnixServer> {
  return serve({ path, onError() {} }, (conn) => conn.readable.pipeTo(conn.writable));
}

/** Runs a server, which some clients leave. Returns what it prints on standard error. */
async function afterClients(args: string[], path: string): Promise<string> {
  const flags = [...FLAGS, "--allow-run", "--allow-env"];
  await using server = new Process(udsCommand(args, flags));
  await server.stderr.until("listening");
  await using clients = new Process(["perl", "-e", LEAVE, path]);
  const left = await clients.ended;
  assertEquals(left.code, 0, left.stderr);
  // It connects, and closes at once.
  assertEquals((await probe(path)).state, "alive");
  server.kill("SIGTERM");
  const { code, stderr } = await server.ended;
  assertEquals(code, 0, stderr);
  return stderr;
}

test("a serving command prints nothing about clients that leave", async () => {
  await using dir = new TempDir();
  await using _target = await target(dir.file("target"));
  await Promise.all(COMMANDS.map(async ([name, args], i) => {
    const stderr = await afterClients(args(dir.file(`${i}`), dir.file("target")), dir.file(`${i}`));
    assertMatch(stderr, /^listening on \S+\nending\n$/, name);
  }));
}, { needs: ["perl"] });

test("a serving command with --verbose reports clients that leave", async () => {
  const own = COMMANDS.filter(([name]) => name !== "serve CMD");
  await using dir = new TempDir();
  await using _target = await target(dir.file("target"));
  await Promise.all(own.map(async ([name, args], i) => {
    const [command = "", ...rest] = args(dir.file(`${i}`), dir.file("target"));
    const stderr = await afterClients([command, "--verbose", ...rest], dir.file(`${i}`));
    assertMatch(stderr, /\na client left: Cannot [^\n]*the peer[^\n]*\n/, name);
  }));
}, { needs: ["perl"] });

test("uds echo --verbose --json reports clients that leave as events", async () => {
  await using dir = new TempDir();
  const stderr = await afterClients(["echo", "-v", "--json", dir.file("s")], dir.file("s"));
  const left = stderr.split("\n").filter((line) => line !== "").map((line) => JSON.parse(line))
    .find(({ event }) => event === "left");
  assertMatch(left.reason, /Cannot (?:read from|write to) a client of/);
}, { needs: ["perl"] });

test("uds relay reports a target that closes with a request unread", async () => {
  await using dir = new TempDir();
  // A process that only exits: Deno ends its direction first, which may hide what was unread.
  const script =
    "import socket as s, sys; l = s.socket(s.AF_UNIX); l.bind(sys.argv[1]); l.listen()\n" +
    "print('ready', flush=True); c = l.accept()[0]; c.recv(1); c.sendall(b'x')";
  await using target = new Process(["python3", "-c", script, dir.file("target")]);
  await target.stdout.until("ready");
  await using relay = new Process(udsCommand(["relay", dir.file("s"), dir.file("target")]));
  await relay.stderr.until("listening on");
  await using conn = await connect(dir.file("s"));
  await conn.writeText("a long request");
  await relay.stderr.until("peer closed it before reading everything");
  assertStringIncludes(await relay.stderr.text(), "uds: Cannot");
}, { needs: ["python3"] });

test("uds listen --keep reports a client that left its input unread", async () => {
  await using dir = new TempDir();
  const args = ["listen", "--keep", dir.file("s")];
  await using server = new Process(udsCommand(args), { input: "open" });
  await server.stderr.until("listening on");
  // Deno ends its direction before it closes, which may hide that it left bytes unread.
  const script =
    "import socket as s, sys; c = s.socket(s.AF_UNIX); c.connect(sys.argv[1]); c.recv(1)";
  await using client = new Process(["python3", "-c", script, dir.file("s")]);
  await server.type("hello");
  assertEquals((await client.ended).code, 0);
  await server.stderr.until("uds: Cannot read from a client of");
}, { needs: ["python3"] });
