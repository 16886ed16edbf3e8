/** `conn.closed` of a handler that does not read: it notices that the peer leaves. */

import { connect, type Connection, pair, serve, socketpair } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import {
  encode,
  isPending,
  MIB,
  Program,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
  turn,
} from "../_helpers.ts";
import { assertSameBytes, errorOf, withPeer } from "./_connection.ts";

const KIB = 1024;

/** Connects to a path, says so, and sleeps. */
const SLEEPER = "import socket, sys, time\n" +
  "conns = []\n" +
  "for _ in range(int(sys.argv[2])):\n" +
  "    conn = socket.socket(socket.AF_UNIX)\n" +
  "    conn.connect(sys.argv[1])\n" +
  "    conns.append(conn)\n" +
  'print("connected", flush=True)\n' +
  "time.sleep(600)\n";

/** Starts a process that holds connections to a path. */
function sleeper(path: string, connections: number): Program {
  return new Program("python3", ["-c", SLEEPER, path, String(connections)]);
}

/** Waits until a condition holds, one turn after the other. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await turn();
}

test("closed resolves when the peer closes, although nothing reads", async () => {
  await using dir = new TempDir();
  using ends = await withPeer(dir);
  const { conn, peer } = ends;
  assert(await isPending(conn.closed));
  peer.close();
  await conn.closed;
  assertEquals(await conn.read(new Uint8Array(1)), null);
});

test("closed resolves when the peer is killed, and a write then rejects", async () => {
  await using dir = new TempDir();
  const { promise: served, resolve } = Promise.withResolvers<string>();
  await using _server = await serve(dir.file("a.sock"), async (conn) => {
    await conn.closed;
    await conn.write(encode("late")).catch((error) => resolve(error.name));
  });
  await using program = sleeper(dir.file("a.sock"), 1);
  await program.line();
  program.kill("SIGKILL");
  assertEquals(await served, "ConnectionClosed");
}, { needs: ["python3"] });

test("closed of a pair resolves when the child closes its end, although it goes on", async () => {
  await using child = await pair("sh", { args: ["-c", "read -r line <&3; exec 3>&-; sleep 600"] });
  const { closed } = child.conn;
  assert(await isPending(closed));
  await child.conn.write(encode("close\n"));
  await closed;
  assert(await isPending(child.status));
  child.kill("SIGKILL");
});

test("closed: a peer that ends its direction and reads on has not left", async () => {
  await using dir = new TempDir();
  using ends = await withPeer(dir);
  const { conn, peer } = ends;
  assert(await isPending(conn.closed));
  await peer.write(encode("question"));
  await peer.closeWrite();
  // Longer than the longest pause between two looks.
  await new Promise((resolve) => setTimeout(resolve, 300));
  assert(await isPending(conn.closed));
  await conn.write(encode("answer"));
  assertEquals(await readText(conn), "question");
  assertEquals(await conn.read(new Uint8Array(1)), null);
  const buffer = new Uint8Array(9);
  assertEquals(await peer.read(buffer), 6);
  peer.close();
  await conn.closed;
});

test("closed: a connection that ends its own direction closes at the peer's end of file", async () => {
  await using dir = new TempDir();
  using ends = await withPeer(dir);
  const { conn, peer } = ends;
  const { closed } = conn;
  await conn.closeWrite();
  await peer.write(encode("rest"));
  assert(await isPending(closed));
  await peer.closeWrite();
  await closed;
  assertEquals(await readText(conn), "rest");
  assertEquals(await conn.read(new Uint8Array(1)), null);
});

test("closed resolves after a reset. What came before it is read first, then it rejects", async () => {
  await using dir = new TempDir();
  using ends = await withPeer(dir);
  const { conn, peer } = ends;
  assert(await isPending(conn.closed));
  await conn.write(encode("unread"));
  await peer.write(encode("last words"));
  peer.close();
  await conn.closed;
  assertEquals(await readText(conn), "last words");
  assertInstanceOf(await errorOf(conn.read(new Uint8Array(1))), Deno.errors.ConnectionReset);
});

test("closed: bytes ahead are read at once, while more are awaited", async () => {
  const [a, b] = await socketpair();
  using _a = a;
  using _b = b;
  a.closed;
  let all = "";
  for (const text of ["one", "two", "three"]) {
    await b.write(encode(text));
    await until(() => a.bytesRead === all.length + text.length);
    // A moment later, more is read ahead.
    await new Promise((resolve) => setTimeout(resolve, 20));
    all += await readText(a);
  }
  assertEquals(all, "onetwothree");
});

test("closed reads at most 64 KiB ahead, and the next reads get all of it in order", async () => {
  await using dir = new TempDir();
  using ends = await withPeer(dir);
  const { conn, peer } = ends;
  const data = pseudoRandom(MIB, 17);
  assert(await isPending(conn.closed));
  const sending = (async () => {
    for (let at = 0; at < data.length;) at += await peer.write(data.subarray(at));
    await peer.closeWrite();
  })();
  await until(() => conn.bytesRead === 64 * KIB);
  assert(await isPending(sending), "the peer is not held back");
  assertEquals(conn.bytesRead, 64 * KIB);
  assertSameBytes(await readAll(conn), data);
  await sending;
});

test("closed resolves when the peer leaves with more than 64 KiB unread, and all can be read", async () => {
  await using dir = new TempDir();
  using ends = await withPeer(dir);
  const { conn, peer } = ends;
  const data = pseudoRandom(150 * KIB, 19);
  assert(await isPending(conn.closed));
  for (let at = 0; at < data.length;) at += await peer.write(data.subarray(at));
  peer.close();
  await conn.closed;
  assertEquals(conn.bytesRead, 64 * KIB);
  assertSameBytes(await readAll(conn), data);
});

test("closed resolves after a stream was cancelled, and reads nothing ahead", async () => {
  await using dir = new TempDir();
  using ends = await withPeer(dir);
  const { conn, peer } = ends;
  await conn.readable.cancel();
  assert(await isPending(conn.closed));
  await peer.write(encode("bytes"));
  assert(await isPending(conn.closed));
  assertEquals(conn.bytesRead, 0);
  peer.close();
  await conn.closed;
});

for (const way of ["reads", "a stream"]) {
  test(`closed together with ${way}: 8 MiB in order, and then the peer's end`, async () => {
    await using dir = new TempDir();
    using ends = await withPeer(dir);
    const { conn, peer } = ends;
    assert(await isPending(conn.closed));
    const data = pseudoRandom(8 * MIB, 23);
    const sending = (async () => {
      for (let at = 0; at < data.length;) at += await peer.write(data.subarray(at, at + 70_000));
      peer.close();
    })();
    const got = way === "reads"
      ? await readAll(conn)
      : new Uint8Array(await new Response(conn.readable).arrayBuffer());
    assertSameBytes(got, data);
    await Promise.all([sending, conn.closed]);
  }, { deadline: 20_000 });
}

test("closed does not count as a read for idleTimeout", async () => {
  await using dir = new TempDir();
  const { promise, resolve } = Promise.withResolvers<boolean>();
  await using _server = await serve({ path: dir.file("a.sock"), idleTimeout: 50 }, async (conn) => {
    const { closed } = conn;
    await new Promise((resolve) => setTimeout(resolve, 200));
    resolve(await isPending(closed));
  });
  await using _client = await connect(dir.file("a.sock"));
  assert(await promise, "it has timed out");
});

test("closed: close() resolves it, and leaves no descriptor and no timer", async () => {
  await using dir = new TempDir();
  using ends = await withPeer(dir);
  const { conn, peer } = ends;
  const { closed } = conn;
  await peer.closeWrite();
  assert(await isPending(closed));
  conn.close();
  await closed;
});

for (
  const [script, socket] of [["exec sleep 600 >&3", "descriptor"], [
    "exec sleep 600",
    "stdio",
  ]] as const
) {
  test(`closed of pair() at ${socket} resolves when the child is killed`, async () => {
    await using child = await pair("sh", { args: ["-c", script], socket });
    assert(await isPending(child.conn.closed));
    child.kill("SIGKILL");
    await child.conn.closed;
  });

  test(`closed of pair() at ${socket}: a child that ends its output has not left`, async () => {
    const input = socket === "stdio" ? "read -r line" : "read -r line <&3";
    const end = socket === "stdio"
      ? `exec >&-; ${input}`
      : `exec python3 -c 'import socket; s = socket.socket(fileno=3); s.shutdown(1); s.recv(9)'`;
    await using child = await pair("sh", { args: ["-c", end], socket });
    assertEquals(await child.conn.read(new Uint8Array(1)), null);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert(await isPending(child.conn.closed));
    await child.conn.write(encode("line\n"));
    await child.conn.closed;
    assertEquals((await child.status).code, 0);
  }, { needs: ["python3"] });
}

test(
  "serve(): 100 handlers that only wait are served with maxConnections 10, as their peers are killed",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const open = new Set<Connection>();
    let most = 0;
    let served = 0;
    await using server = await serve({ path, maxConnections: 10 }, async (conn) => {
      open.add(conn);
      most = Math.max(most, open.size);
      await conn.closed;
      open.delete(conn);
      served++;
    });
    await using programs = new AsyncDisposableStack();
    const sleepers = Array.from({ length: 4 }, () => programs.use(sleeper(path, 25)));
    await Promise.all(sleepers.map((program) => program.line()));
    await until(() => open.size === 10);
    for (const program of sleepers) program.kill("SIGKILL");
    await until(() => served === 100);
    assertEquals([most, server.connections], [10, 0]);
  },
  { needs: ["python3"], deadline: 30_000 },
);

test(
  "serve(): a handler that only writes to a slow reader ends when the peer is killed",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    const { promise, resolve } = Promise.withResolvers<unknown>();
    await using server = await serve({ path, maxConnections: 1 }, async (conn) => {
      const left = conn.closed.then(() => "left");
      for (;;) {
        const writing = conn.write(new Uint8Array(64 * KIB)).then(() => "written", () => "failed");
        const outcome = await Promise.race([left, writing]);
        if (outcome !== "written") return resolve(await left);
      }
    });
    await using program = sleeper(path, 1);
    await program.line();
    await until(() => server.connections === 1);
    program.kill("SIGKILL");
    assertEquals(await promise, "left");
    await until(() => server.connections === 0);
  },
  { needs: ["python3"] },
);
