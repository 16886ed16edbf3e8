import { closeSync, openSync } from "node:fs";
import { connect, type Connection, inherited, listen, NotASocket, pair, serve } from "@uds/uds";
import { receiveDescriptors, sendDescriptors } from "@uds/uds/native";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import {
  denoArgs,
  encode,
  fixture,
  fixturePath,
  openDescriptors,
  Program,
  readText,
  TempDir,
  test,
} from "../_helpers.ts";
import { AF_UNIX, SOCK_STREAM } from "../../_internal/libc/constants.ts";
import { libcIfGranted } from "../../_internal/libc/library.ts";
import { receive, TestPair, untilOpen } from "./_descriptors.ts";

const ONE = new Uint8Array(1);

/** One argument too many, which TypeScript must not see. */
const EXTRA = ["extra"] as unknown as [];

for (
  const [message, Class, call] of [
    ["Unexpected fourth argument", TypeError, (c) => sendDescriptors(c, ONE, [0], ...EXTRA)],
    ["Invalid connection", TypeError, () => sendDescriptors({} as Connection, ONE, [0])],
    ["Invalid data", TypeError, (c) => sendDescriptors(c, "x" as never, [0])],
    ["Invalid data: it is empty", RangeError, (c) => sendDescriptors(c, new Uint8Array(), [0])],
    ["Invalid fds: expected an array", TypeError, (c) => sendDescriptors(c, ONE, 0 as never)],
    ["Use write() for bytes alone", RangeError, (c) => sendDescriptors(c, ONE, [])],
    ["got 254", RangeError, (c) => sendDescriptors(c, ONE, Array(254).fill(0))],
    ["Invalid fds[1]", RangeError, (c) => sendDescriptors(c, ONE, [0, -1])],
    ["Invalid fds[0]", TypeError, (c) => sendDescriptors(c, ONE, ["0" as never])],
    ["Invalid fds[0]", TypeError, (c) => sendDescriptors(c, ONE, [{} as never])],
    ["Unexpected fourth", TypeError, (c) => receiveDescriptors(c, ONE, {}, ...EXTRA)],
    ["Invalid buffer", TypeError, (c) => receiveDescriptors(c, "x" as never)],
    ["Invalid buffer: it is empty", RangeError, (c) => receiveDescriptors(c, new Uint8Array())],
    ['Invalid option "x"', TypeError, (c) => receiveDescriptors(c, ONE, { x: 1 } as never)],
    ["Invalid connection", TypeError, () => receiveDescriptors(null as never, ONE)],
  ] as [string, ErrorConstructor, (conn: Connection) => Promise<unknown>][]
) {
  test(`Wrong arguments of sendDescriptors() and receiveDescriptors(): ${message}`, async () => {
    await using sockets = await TestPair.open();
    const before = openDescriptors();
    await assertRejects(() => call(sockets.client), Class, message);
    await sockets.client.write(encode("usable afterwards"));
    assertEquals(await readText(sockets.server), "usable afterwards");
    assertEquals(openDescriptors(), before);
  });
}

test("sendDescriptors() names a descriptor that is not open, and sends nothing", async () => {
  await using sockets = await TestPair.open();
  const { client, server } = sockets;
  const fd = openSync("/dev/null", "r");
  const before = openDescriptors();
  const send = (data: string) => sendDescriptors(client, encode(data), [0, 99_999, fd]);
  const error = await assertRejects(() => send("direct"), Error, "descriptor 99999 is not open") as
    & Error
    & Record<string, unknown>;
  const { code, operation, path } = error;
  assertEquals([code, operation, path], ["EBADF", "write", client.remoteAddr.path]);
  assertEquals((error["unsent"] as Uint8Array).length, 6);
  // Behind other writes, they are duplicated at the call.
  const full = client.write(new Uint8Array(1 << 20));
  const queued = send("queued");
  const last = sendDescriptors(client, encode("last"), [fd, fd]);
  for (let count = 0; count < 1 << 20;) {
    count += await server.read(new Uint8Array((1 << 20) - count)) ?? 0;
  }
  await full;
  await assertRejects(() => queued, Error, "descriptor 99999 is not open");
  await last;
  {
    using received = await receive(server);
    assertEquals([received.text, received.descriptors.length], ["last", 2]);
  }
  assertEquals(openDescriptors(), before);
  closeSync(fd);
});

test("sendDescriptors() and receiveDescriptors() reject on a connection without them", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _server = await serve(path, (conn) => conn.closed);
  await using conn = await connect(path);
  for (const call of [() => sendDescriptors(conn, ONE, [0]), () => receiveDescriptors(conn, ONE)]) {
    const error = await assertRejects(call, Deno.errors.NotSupported, "descriptors: true");
    assertEquals((error as Error & { path: string }).path, path);
  }
  await using sockets = await TestPair.open();
  await assertRejects(
    () => sendDescriptors(sockets.client, ONE, [conn]),
    TypeError,
    "would shut it down for the receiver too",
  );
});

test("sendDescriptors() and receiveDescriptors() reject after close()", async () => {
  await using sockets = await TestPair.open();
  const { client, server } = sockets;
  const pending = receiveDescriptors(server, ONE);
  server.close();
  await assertRejects(() => pending, Deno.errors.BadResource);
  await assertRejects(() => receiveDescriptors(server, ONE), Deno.errors.BadResource);
  await assertRejects(() => sendDescriptors(server, ONE, [0]), Deno.errors.BadResource);
  await assertRejects(() => sendDescriptors(client, ONE, [server]), Deno.errors.BadResource);
  await assertRejects(() => sendDescriptors(client, ONE, [0]), Deno.errors.BrokenPipe);
  assertEquals(await receiveDescriptors(client, ONE), null);
});

test("What a peer has sent before it died is received, and nothing leaks", async () => {
  await using dir = new TempDir();
  const before = openDescriptors();
  const path = dir.file("a.sock");
  const { promise: accepted, resolve } = Promise.withResolvers<Connection>();
  const { promise: done, resolve: end } = Promise.withResolvers<void>();
  {
    await using _server = await serve({ path, descriptors: true }, async (conn) => {
      resolve(conn);
      await done;
    });
    await using python = new Program("python3", [fixturePath("descriptors_peer.py"), "die", path]);
    const conn = await accepted;
    await python.status;
    {
      using received = await receive(conn);
      assertEquals([received.text, received.descriptors.length], ["last words", 2]);
    }
    // The other two messages are closed with the connection.
    end();
  }
  await untilOpen(before);
}, { needs: ["python3"] });

test("A hostile peer makes a connection hold the descriptors of one message", async () => {
  const before = openDescriptors();
  {
    const args = [fixturePath("descriptors_peer.py"), "flood", "3"];
    await using python = await pair("python3", { args, descriptors: true, stdin: "piped" });
    const { conn } = python;
    void conn.closed;
    await untilOpen(before + 3 + 100);
    assertEquals(await conn.read(new Uint8Array(10)), 1);
    await untilOpen(before + 3 + 100);
    await python.stdin.close();
  }
  await untilOpen(before);
}, { needs: ["python3"] });

test("receiveDescriptors() reports descriptors that were lost, and keeps the bytes", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _server = await serve({ path, descriptors: true }, async (conn) => {
    await conn.read(ONE);
    await sendDescriptors(conn, encode("too many"), Array(200).fill(0));
    await sendDescriptors(conn, encode("few"), [0, 0, 0]);
    await conn.closed;
  });
  const command = [Deno.execPath(), ...denoArgs("descriptors_limit.ts", ["-A"], [path])];
  const limited = `ulimit -n 120; exec "$@"`;
  await using program = new Program("bash", ["-c", limited, "bash", ...command]);
  const { message, ...error } = JSON.parse(await program.line());
  assertEquals(error, {
    name: "Error",
    code: "EMFILE",
    operation: "receiveDescriptors",
    isPath: true,
  });
  assertStringIncludes(message, "too many open files");
  assertEquals(await program.output(), ["too many", "3", "0"]);
}, { needs: ["bash"] });

test("descriptors: true needs the native module, and --allow-ffi", async () => {
  await using dir = new TempDir();
  const flags = ["--allow-read", "--allow-write", "--allow-net", "--allow-run", "--allow-env"];
  for (
    const [isImported, expected] of [
      ["no", /^NotSupported: Cannot .* import "@uds\/uds\/native"/],
      ["yes", /^NotCapable: Cannot .*--allow-ffi=/],
    ] as const
  ) {
    await using program = fixture("descriptors_without.ts", flags, [
      dir.file("a.sock"),
      isImported,
    ]);
    const lines = await program.output();
    assertEquals(lines.length, 4);
    for (const line of lines) assert(expected.test(line), line);
  }
  // Without any permission, all that are missing are named at once.
  await using program = fixture("descriptors_without.ts", [], [dir.file("a.sock"), "yes"]);
  const ofPath = ["read=/", "write=/", "net=unix:/", "ffi=/"];
  for (const flags of [ofPath, ofPath, ["run=true", "env", "ffi=/"], ["ffi=/"]]) {
    const line = await program.line();
    for (const flag of flags) assert(line.includes(`--allow-${flag}`), line);
  }
  assertEquals(dir.list(), []);
});

test("pair() and inherited() refuse what cannot pass descriptors", async () => {
  const module = new URL("../fixtures/pair_plain.ts", import.meta.url);
  const before = openDescriptors();
  for (
    const [command, options, reason] of [
      [module, {}, "a module has no --allow-ffi"],
      ["cat", { socket: "stdio" }, "standard input and output are pipes"],
      ["cat", { type: "seqpacket" }, "a packet socket passes none"],
    ] as [string, object, string][]
  ) {
    await assertRejects(() => pair(command, { ...options, descriptors: true }), TypeError, reason);
  }
  await assertRejects(() => pair("/nothing", { descriptors: true }), Deno.errors.NotFound);
  const fd = openSync("/dev/null", "r");
  assertThrows(() => inherited({ fd, descriptors: true }), NotASocket);
  closeSync(fd);
  assertEquals(openDescriptors(), before);
});

test("inherited({ descriptors }) refuses a socket that was never connected, and leaves it", async () => {
  const libc = libcIfGranted()!;
  const lone = libc.socket(AF_UNIX, SOCK_STREAM, 0);
  assertThrows(
    () => inherited({ fd: lone, descriptors: true }),
    NotASocket,
    "no connected Unix stream socket is open there",
  );
  assertEquals(libc.close(lone), 0);
  // After the peer has closed, it still was connected.
  const ends = new Int32Array(2);
  assertEquals(libc.socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
  libc.close(ends[1]!);
  await using conn = inherited({ fd: ends[0]!, descriptors: true });
  assertEquals(await conn.read(new Uint8Array(1)), null);
});

test("listen() with descriptors closes its listener if its mode cannot be set", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  await (await listen({ path, descriptors: true })).close();
  const before = openDescriptors();
  const { chmodSync } = Deno;
  Deno.chmodSync = () => {
    throw new Deno.errors.PermissionDenied("not today");
  };
  try {
    await assertRejects(() => listen({ path, descriptors: true, mode: 0o640 }), Error, "not today");
  } finally {
    Deno.chmodSync = chmodSync;
  }
  assertEquals(openDescriptors(), before);
  assertEquals(dir.list(), []);
});
