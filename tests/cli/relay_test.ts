import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { connect, serve } from "@uds/uds";
import { parse } from "../../_cli/parse/command_line.ts";
import { COMMANDS } from "../../_cli/table.ts";
import { UsageError } from "../../_cli/exit_codes.ts";
import { Process, uds, udsCommand } from "../_cli.ts";
import {
  decode,
  encode,
  fixturePath,
  Program,
  pseudoRandom,
  readAll,
  run,
  TempDir,
  test,
} from "../_helpers.ts";

/** Starts a server that answers at the end of file, so that it depends on half-close. */
function server(path: string) {
  return serve(path, async (conn) => {
    const all = await readAll(conn);
    await conn.write(encode("got "));
    await conn.write(all);
  });
}

/** Starts the command, and waits until it prints its address. */
async function relaying(args: string[]): Promise<Process & { address: string }> {
  const process = new Process(udsCommand(["relay", ...args]));
  await process.stderr.until("\n");
  const address = (await process.stderr.text()).match(/^listening on (\S+)\n/)?.[1] ?? "";
  return Object.assign(process, { address });
}

/** Sends all data and the end of file. Returns the answer. */
async function exchange(path: string, data: Uint8Array): Promise<Uint8Array> {
  await using conn = await connect(path);
  await conn.write(data);
  await conn.closeWrite();
  return await readAll(conn);
}

/** Makes a certificate for localhost. */
async function certificate(dir: TempDir): Promise<[cert: string, key: string]> {
  const [cert, key] = [dir.file("c.pem"), dir.file("k.pem")];
  const { code, stderr } = await run("openssl", [
    ..."req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(" "),
    ...["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
    ...["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", cert],
  ]);
  assertEquals(code, 0, stderr);
  return [cert, key];
}

const DATA = pseudoRandom(2 * 1024 * 1024, 5);

test("uds relay forwards a port to a path, and a path to a port, with half-close", async () => {
  await using dir = new TempDir();
  await using _server = await server(dir.file("a.sock"));
  await using port = await relaying(["tcp:127.0.0.1:0", `unix:${dir.file("a.sock")}`]);
  const path = dir.file("b.sock");
  await using back = await relaying(["--mode", "640", path, port.address]);
  assertEquals(back.address, `unix:${path}`);
  assertEquals((await Deno.lstat(path)).mode! & 0o777, 0o640);
  const all = await Promise.all([DATA, encode("x"), encode("")].map((it) => exchange(path, it)));
  assertEquals(all.slice(1).map(decode), ["got x", "got "]);
  assert(all[0]!.subarray(4).every((byte, i) => byte === DATA[i]));
  assertEquals(all[0]!.length, DATA.length + 4);
  for (const process of [port, back]) {
    process.kill("SIGTERM");
    const { code, stderr } = await process.ended;
    assertEquals([code, stderr], [0, `listening on ${process.address}\nending\n`]);
  }
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
});

test("uds relay uses TLS, only to a server with a trusted certificate", async () => {
  await using dir = new TempDir();
  const [cert, key] = await certificate(dir);
  await using _server = await server(dir.file("a.sock"));
  const sides = ["tls:127.0.0.1:0", dir.file("a.sock")];
  await using far = await relaying(["--cert", cert, "--key", key, ...sides]);
  const address = far.address.replace("127.0.0.1", "localhost");
  const [trusting, strict] = [dir.file("b.sock"), dir.file("c.sock")];
  await using _near = await relaying(["--ca", cert, trusting, address]);
  await using other = await relaying([strict, address]);
  const back = await exchange(trusting, DATA);
  assertEquals(back.length, DATA.length + 4);
  assert(back.subarray(4).every((byte, i) => byte === DATA[i]));
  assertEquals((await exchange(strict, encode("")).catch(() => encode(""))).length, 0);
  await other.stderr.until("invalid peer certificate");
  assertStringIncludes(await other.stderr.text(), `Cannot connect to ${address}: invalid peer`);
  await using plain = await relaying([dir.file("d.sock"), far.address.replace("tls", "tcp")]);
  await exchange(dir.file("d.sock"), encode("not TLS"));
  await far.stderr.until("corrupt message");
  const refused = new RegExp(`Cannot serve 127.0.0.1 port \\d+ on ${far.address}: .* corrupt`);
  assertMatch(await far.stderr.text(), refused);
  assertEquals(plain.address, `unix:${dir.file("d.sock")}`);
}, { needs: ["openssl"] });

test("uds relay passes the ends of both directions on by TLS, 20 times of 20", async () => {
  await using dir = new TempDir();
  const [cert, key] = await certificate(dir);
  await using _server = await server(dir.file("a.sock"));
  const sides = ["tls:127.0.0.1:0", dir.file("a.sock")];
  await using far = await relaying(["--cert", cert, "--key", key, ...sides]);
  const address = far.address.replace("127.0.0.1", "localhost");
  await using _near = await relaying(["--ca", cert, dir.file("b.sock"), address]);
  for (let i = 0; i < 20; i++) {
    const back = await exchange(dir.file("b.sock"), DATA);
    assertEquals(back.length, DATA.length + 4);
    assert(back.subarray(4).every((byte, at) => byte === DATA[at]));
  }
}, { needs: ["openssl"], deadline: 20_000 });

test(
  "uds relay passes on the end of a TLS target that keeps its port open, 20 times of 20",
  async () => {
    await using dir = new TempDir();
    const [cert, key] = await certificate(dir);
    const size = 1024 * 1024;
    const args = [fixturePath("tls_target.py"), cert, key, `${size}`];
    await using target = new Program("python3", args);
    const address = `tls:localhost:${await target.line()}`;
    await using _near = await relaying(["--ca", cert, dir.file("b.sock"), address]);
    for (let i = 0; i < 20; i++) {
      await using conn = await connect(dir.file("b.sock"));
      await conn.write(encode("?"));
      assertEquals((await readAll(conn)).length, size);
    }
  },
  { needs: ["openssl", "python3"] },
);

test("uds relay goes on if its target cannot be reached, and reports it", async () => {
  await using dir = new TempDir();
  await using relay = await relaying(["--timeout", "0", dir.file("b.sock"), dir.file("a.sock")]);
  {
    await using conn = await connect(dir.file("b.sock"));
    assertEquals((await readAll(conn)).length, 0);
  }
  await relay.stderr.until("there is no such file");
  await using _server = await server(dir.file("a.sock"));
  assertEquals(decode(await exchange(dir.file("b.sock"), encode("x"))), "got x");
});

for (
  const [args, message] of [
    [["/tmp/a", "http:x"], "TARGET must be unix:PATH, tcp:HOST:PORT or tls:HOST:PORT"],
    [["tcp:x", "/tmp/a"], "LISTEN must be tcp:HOST:PORT"],
    [["tcp:x:70000", "/tmp/a"], "LISTEN must be tcp:HOST:PORT"],
    [["tcp:::1:70", "/tmp/a"], "LISTEN must be tcp:HOST:PORT"],
    [["/tmp/a"], "missing TARGET: uds relay LISTEN TARGET"],
  ] as const
) {
  test(`uds relay refuses ${args.join(" ")}`, async () => {
    const error = await assertRejects(() => parse(["relay", ...args], COMMANDS), UsageError);
    assertStringIncludes(error.message, message);
  });
}

for (
  const [args, message] of [
    [["tls:127.0.0.1:0", "/tmp/a"], "needs --cert and --key"],
    [["--key", "k", "/tmp/a", "tls:localhost:1"], "go together"],
    [["--cert", "c", "--key", "k", "/tmp/a", "/tmp/b"], "are for tls:"],
    [["--ca", "c", "/tmp/a", "tcp:localhost:1"], "--ca is for a TARGET tls:"],
    [["--mode", "660", "tcp:127.0.0.1:0", "/tmp/a"], "are for a LISTEN unix:"],
    [["unix:/tmp/b/../a", "/tmp/a"], "LISTEN and TARGET are the same"],
    [["tcp:127.0.0.1:9", "tcp:127.0.0.1:9"], "LISTEN and TARGET are the same"],
  ] as const
) {
  test(`uds relay ${args.join(" ")} ends with exit code 2`, async () => {
    const { code, stderr } = await uds(["relay", ...args]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, message);
  });
}

test("uds relay names the address where it cannot listen", async () => {
  using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const address = `tcp:127.0.0.1:${taken.addr.port}`;
  const { code, stderr } = await uds(["relay", address, "/tmp/a"]);
  assertEquals([code, stderr], [5, `uds: Cannot listen on ${address}: Address already in use\n`]);
});

test("uds relay names the file that it cannot read", async () => {
  await using dir = new TempDir();
  const [file, to] = [dir.file("c.pem"), "tls:localhost:1"];
  const { code, stderr } = await uds(["relay", "--ca", file, dir.file("a.sock"), to]);
  assertEquals([code, stderr], [3, `uds: Cannot read "${file}": No such file or directory\n`]);
  assertEquals(dir.list(), []);
});

test("uds relay names the permissions that are missing", async () => {
  const sides = ["unix:/tmp/a.sock", "tcp:[::1]:5432"];
  const { stdout } = await uds(["permissions", "--json", "relay", ...sides], { flags: [] });
  assertEquals(JSON.parse(stdout), {
    read: ["/tmp/a.sock", "/tmp/a.sock.lock"],
    write: ["/tmp/a.sock", "/tmp/a.sock.lock"],
    net: ["unix:/tmp/a.sock", "[::1]:5432"],
  });
  const { code, stderr } = await uds(["relay", ...sides], { flags: ["-R", "-W"] });
  assertEquals(code, 9);
  assertStringIncludes(stderr, "--allow-net=unix:/tmp/a.sock,[::1]:5432");
});
