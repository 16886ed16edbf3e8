import { connect, type Connection, ConnectionClosed, listen, probe, serve } from "@uds/uds";
import {
  bufferSizes,
  closeRead,
  delivered,
  nativePermissions,
  setBacklog,
  setBufferSizes,
  unreadBytes,
} from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import "./_libc.ts";
import {
  denoArgs,
  gate,
  isPending,
  KIB,
  readText,
  run,
  TempDir,
  test,
  turn,
  untilFull,
} from "../_helpers.ts";

/** Both ends of a connection, and its path. */
class Ends implements AsyncDisposable {
  readonly #dir = new TempDir();
  readonly path: string = this.#dir.file("a.sock");
  readonly #done = gate();
  readonly #server: Promise<AsyncDisposable>;
  readonly accepted: Promise<Connection>;
  readonly connected: Promise<Connection>;

  constructor() {
    const { opened, open } = gate<Connection>();
    this.accepted = opened;
    this.#server = serve(this.path, (conn) => {
      open(conn);
      return this.#done.opened;
    });
    this.connected = this.#server.then(() => connect(this.path));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    (await this.connected).close();
    this.#done.open();
    await (await this.#server)[Symbol.asyncDispose]();
    await this.#dir[Symbol.asyncDispose]();
  }
}

for (const side of ["accepted", "connected"] as const) {
  test(`setBufferSizes() sets what bufferSizes() returns, ${side}`, async () => {
    await using ends = new Ends();
    await Promise.all([ends.accepted, ends.connected]);
    const conn = await ends[side];
    const before = bufferSizes(conn);
    assertEquals(before.send, 208 * KIB);
    assertEquals(setBufferSizes(conn, { send: 64 * KIB }), { ...before, send: 128 * KIB });
    assertEquals(setBufferSizes(conn, { receive: 32 * KIB }).receive, 64 * KIB);
    assertEquals(setBufferSizes(conn, {}), { send: 128 * KIB, receive: 64 * KIB });
    assertEquals(bufferSizes(conn), { send: 128 * KIB, receive: 64 * KIB });
  });
}

test("a smaller send buffer takes fewer bytes before the peer reads", async () => {
  const counts = [];
  for (const send of [undefined, 16 * KIB]) {
    await using ends = new Ends();
    const conn = await ends.connected;
    setBufferSizes(conn, { send });
    conn.write(new Uint8Array(KIB * KIB)).catch(() => {});
    await untilFull(conn);
    counts.push(conn.bytesWritten);
  }
  assert(counts[1]! < counts[0]! / 3, counts.join());
});

test("unreadBytes() returns the bytes that the peer has sent and this side has not read", async () => {
  await using ends = new Ends();
  const [conn, peer] = [await ends.connected, await ends.accepted];
  assertEquals(unreadBytes(conn), 0);
  await peer.write(new Uint8Array(1000));
  await peer.write(new Uint8Array(234));
  assertEquals(unreadBytes(conn), 1234);
  await conn.read(new Uint8Array(34));
  assertEquals(unreadBytes(conn), 1200);
  await conn.read(new Uint8Array(2000));
  assertEquals(unreadBytes(conn), 0);
});

test("delivered() resolves when the peer has read everything", async () => {
  await using ends = new Ends();
  const [conn, peer] = [await ends.connected, await ends.accepted];
  await delivered(conn);
  await conn.write(new Uint8Array(1000));
  const waiting = delivered(conn);
  assertEquals(await isPending(waiting), true);
  await peer.read(new Uint8Array(999));
  assertEquals(await isPending(waiting), true);
  await peer.read(new Uint8Array(1));
  await waiting;
});

test("delivered() rejects when the peer closes before it has read everything", async () => {
  await using ends = new Ends();
  const [conn, peer] = [await ends.connected, await ends.accepted];
  await conn.write(new Uint8Array(1000));
  const waiting = delivered(conn);
  peer.close();
  const error = await assertRejects(() => waiting, Deno.errors.ConnectionReset);
  const start = `Cannot wait for delivery to "${ends.path}": the peer closed it before reading`;
  assert(error.message.startsWith(start), error.message);
  const { operation, path, code } = error as Error & Record<string, unknown>;
  assertEquals({ operation, path, code }, {
    operation: "delivered",
    path: ends.path,
    code: "ECONNRESET",
  });
  // The error stays for the reader.
  await assertRejects(() => conn.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
});

test("delivered() rejects with the reason of its signal, and nothing else changes", async () => {
  await using ends = new Ends();
  const [conn, peer] = [await ends.connected, await ends.accepted];
  await conn.write(new Uint8Array(5));
  const controller = new AbortController();
  const waiting = delivered(conn, { signal: controller.signal });
  await turn();
  const reason = new Error("enough");
  controller.abort(reason);
  assertEquals(await waiting.catch((error) => error), reason);
  assertEquals(await peer.read(new Uint8Array(9)), 5);
  await delivered(conn);
});

test("closeRead() ends a pending read, and the peer's writes", async () => {
  await using ends = new Ends();
  const [conn, peer] = [await ends.connected, await ends.accepted];
  const reading = conn.read(new Uint8Array(1));
  closeRead(conn);
  assertEquals(await reading, null);
  await assertRejects(() => peer.write(new Uint8Array(1)), Deno.errors.BrokenPipe);
  await conn.write(new TextEncoder().encode("still"));
  assertEquals(await readText(peer), "still");
});

test("closeRead() keeps what waits in the kernel", async () => {
  await using ends = new Ends();
  const [conn, peer] = [await ends.connected, await ends.accepted];
  await peer.write(new TextEncoder().encode("before"));
  closeRead(conn);
  assertEquals([await readText(conn), await readText(conn)], ["before", null]);
});

/** Returns how many clients can connect that are not accepted. */
async function room(path: string): Promise<number> {
  const waiting: Deno.UnixConn[] = [];
  try {
    for (;;) waiting.push(await Deno.connect({ transport: "unix", path }));
  } catch {
    return waiting.length;
  } finally {
    for (const conn of waiting) conn.close();
  }
}

test("setBacklog() changes how many clients can wait", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  using _listener = Deno.listen({ transport: "unix", path });
  setBacklog(path, 5);
  assertEquals(await room(path), 6);
});

for (const publish of ["direct", "rename"] as const) {
  test(`setBacklog() finds the listener of serve({ publish: "${publish}" })`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using _server = await serve({ path, publish }, () => Promise.resolve());
    setBacklog(path, 5);
    await using conn = await connect(path);
    assertEquals(await conn.read(new Uint8Array(1)), null);
  });
}

for (const descriptors of [false, true]) {
  test(`listen({ backlog, descriptors: ${descriptors} }) limits how many clients can wait`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using _listener = await listen({ path, backlog: 5, descriptors });
    assertEquals(await room(path), 6);
  });
}

test("serve({ backlog }) closes its listener if the system refuses the number", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  // The first call and the third are Deno's.
  const inject = ["-e", "trace=listen", "-e", "inject=listen:error=EACCES:when=2..4+2"];
  const deno = [Deno.execPath(), ...denoArgs("native_backlog_refused.ts", ["-A"], [path])];
  const { stdout } = await run("strace", ["-f", "-qq", "-o", "/dev/null", ...inject, ...deno]);
  assertEquals(stdout, "EACCES serve free\nEACCES serve free\nalive\n");
  assertEquals(dir.list(), []);
}, { needs: ["strace"] });

test("listen({ backlog }) keeps its number when it heals the path", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const { opened, open } = gate<unknown>();
  await using _listener = await listen({
    path,
    backlog: 5,
    publish: "rename",
    selfHeal: true,
    onPathLost: open,
  });
  Deno.removeSync(path);
  await opened;
  while ((await probe(path)).state !== "alive") await turn();
  assertEquals(await room(path) <= 6, true);
});

test("setBacklog() rejects a path where this process does not listen", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using ends = new Ends();
  await ends.connected;
  const message = `Cannot set the backlog of "${path}": this process does not listen there. ` +
    "Call serve() or listen() first";
  const error = assertThrows(() => setBacklog(path, 5), Deno.errors.NotFound, message);
  assertEquals((error as Error & { path: string }).path, path);
});

const CALLS: Record<string, (conn: Connection) => unknown> = {
  bufferSizes,
  setBufferSizes: (conn) => setBufferSizes(conn, { send: 1 }),
  unreadBytes,
  delivered,
  closeRead,
};

for (const [name, call] of Object.entries(CALLS)) {
  test(`${name}() rejects what is not a connection`, async () => {
    const tried = async () => await call({} as Connection);
    await assertRejects(tried, TypeError, "Invalid connection: expected a Connection");
  });

  test(`${name}() rejects a connection that is closed`, async () => {
    await using ends = new Ends();
    const conn = await ends.connected;
    await ends.accepted;
    conn.close();
    const tried = async () => await call(conn);
    const error = await assertRejects(tried, ConnectionClosed, "has closed");
    const { operation, path } = error;
    assertEquals({ operation, path }, { operation: name, path: ends.path });
  });
}

test("options that are wrong are refused before any effect", async () => {
  await using ends = new Ends();
  const conn = await ends.connected;
  const before = bufferSizes(conn);
  assertThrows(() => setBufferSizes(conn, { send: 0 }), RangeError, "send");
  assertThrows(() => setBufferSizes(conn, { receive: 2 ** 30 }), RangeError, "receive");
  assertThrows(() => setBufferSizes(conn, { sned: 1 } as never), TypeError, "send");
  assertThrows(() => setBacklog(ends.path, -1), RangeError, "Invalid backlog");
  assertThrows(() => setBacklog(ends.path, -0), RangeError, "Invalid backlog");
  assertThrows(() => setBacklog("", 1), TypeError, "empty");
  await assertRejects(() => delivered(conn, { signal: 1 as never }), TypeError, "signal");
  assertEquals(bufferSizes(conn), before);
});

test("nativePermissions() returns the path of libc", () => {
  const [path] = nativePermissions().ffi;
  assert(Deno.statSync(path).isFile);
});
