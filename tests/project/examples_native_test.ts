/** The examples of the native module and of systemd's, each with the flags that it names. */

import { connect } from "@uds/uds";
import { assertEquals, assertMatch } from "@std/assert";
import { fixture, Program, PROJECT, readText, run, TempDir, test } from "../_helpers.ts";
import { flagsOf } from "./_examples.ts";

const NOBODY = ["--reuid", "65534", "--regid", "65534", "--clear-groups"];

/** Starts an example with the flags that it names. */
async function started(name: string, args: string[], dir: string): Promise<Program> {
  return fixture(`./examples/${name}`, await flagsOf(name, dir), args);
}

async function stopped(program: Program, dir: TempDir): Promise<void> {
  program.kill("SIGTERM");
  assertEquals([(await program.status).code, await program.stderr()], [0, ""]);
  assertEquals(dir.list(), []);
}

test("examples/admit_user.ts serves one user, and closes another's connection", async () => {
  await using dir = new TempDir(0o755);
  const path = dir.file("app.sock");
  await using server = await started("admit_user.ts", [path, "65534"], dir.path);
  assertEquals(await server.line(), `serving users 0 and 65534 on ${path}`);
  const client = ["socat", "-u", `UNIX-CONNECT:${path}`, "-"];
  const admitted = await run("setpriv", [...NOBODY, ...client]);
  assertMatch(admitted.stdout, /^welcome, process \d+ of user 65534\n$/);
  const refused = await run("setpriv", ["--reuid", "7", "--clear-groups", ...client]);
  assertEquals(refused.stdout, "");
  server.kill("SIGTERM");
  assertEquals((await server.status).code, 0);
  assertMatch(await server.stderr(), /^uds: Cannot authorize .* has uid 7, .*only uid 0, 65534/);
  assertEquals(dir.list(), []);
}, { needs: ["setpriv", "socat"], root: true });

test("examples/open_file.ts passes a file to a child that may not open it", async () => {
  await using dir = new TempDir(0o755);
  await Deno.writeTextFile(dir.file("secret"), "secret", { mode: 0o600 });
  const args = await flagsOf("open_file.ts", dir.path);
  const flags = args.map((flag) => flag.replace("/etc/shadow", dir.file("secret")));
  await using program = fixture("./examples/open_file.ts", flags, [dir.file("secret")]);
  assertEquals(await program.output(), [
    `user 65534 may not open ${dir.file("secret")}`,
    "it was passed 6 bytes of it",
  ]);
  assertEquals([(await program.status).code, await program.stderr()], [0, ""]);
}, { needs: ["setpriv"], root: true });

test("examples/log_reader.ts prints what logger sends", async () => {
  await using dir = new TempDir();
  const path = dir.file("log");
  await using reader = await started("log_reader.ts", [path], dir.path);
  assertEquals(await reader.line(), `reading ${path}`);
  const args = ["-u", path, "-p", "user.warning", "-t", "app", "it works"];
  assertEquals((await run("logger", args)).code, 0);
  assertMatch(await reader.line(), /^warning: .* app: it works$/);
  await stopped(reader, dir);
}, { needs: ["logger"] });

test("examples/packet_server.ts answers each packet of a client in Python", async () => {
  await using dir = new TempDir();
  const path = dir.file("upper.sock");
  await using server = await started("packet_server.ts", [path], dir.path);
  assertEquals(await server.line(), `listening on ${path}`);
  const client = [
    "import socket, sys",
    "client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)",
    "client.connect(sys.argv[1])",
    "client.send(b'one'), client.send(b'two')",
    "print(client.recv(100), client.recv(100))",
  ];
  const { stdout } = await run("python3", ["-c", client.join("\n"), path]);
  assertEquals(stdout, "b'ONE' b'TWO'\n");
  await stopped(server, dir);
}, { needs: ["python3"] });

test("examples/service.ts serves the socket of systemd-socket-activate", async () => {
  await using dir = new TempDir();
  const path = dir.file("echo.sock");
  const flags = await flagsOf("service.ts", dir.path);
  const deno = [Deno.execPath(), "run", "--quiet", "--no-prompt", "--no-lock", ...flags];
  await using manager = new Program("systemd-socket-activate", [
    ...["-l", path, "-E", "HOME", "-E", "DENO_DIR", "-E", "JSR_URL", ...deno],
    "examples/service.ts",
  ], { cwd: PROJECT });
  await using conn = await connect({ path, wait: true, timeout: Infinity });
  await conn.write(new TextEncoder().encode("hello"));
  await conn.closeWrite();
  assertEquals(await readText(conn), "hello");
  assertEquals(await manager.line(), "serving descriptor 3, named unknown");
  manager.kill("SIGTERM");
  assertEquals((await manager.status).code, 0);
}, { needs: ["systemd-socket-activate"] });
