import { type Connection, ConnectionClosed, pair, socketpair } from "@uds/uds";
import { lowLatency } from "@uds/uds/native";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { transportOf } from "../../_internal/connection/socket_connection.ts";
import { TempDir, test, turn } from "../_helpers.ts";
import { withPeer } from "../connection/_connection.ts";
import { type Counting, look } from "./_latency.ts";
import { receive, send, Sockets } from "./_libc.ts";

const MESSAGE = Uint8Array.of(1, 2, 3, 4);

/** The turns before the first look. */
const WARM_UP = 8;

/** Takes a turn: the peer sends, and gets an answer. */
async function takeTurn(conn: Connection, peer: Deno.UnixConn): Promise<void> {
  const buffer = new Uint8Array(64);
  await peer.write(MESSAGE);
  assertEquals(await conn.read(buffer), MESSAGE.length);
  assertEquals(buffer.subarray(0, MESSAGE.length), MESSAGE);
  await conn.write(buffer.subarray(0, MESSAGE.length));
  assertEquals(await peer.read(buffer), MESSAGE.length);
}

/** Makes a connection look, and returns what waits. */
function counted(conn: Connection, leastTurns?: number): Counting {
  const counting = look(conn, leastTurns);
  assert(counting !== undefined, "its descriptor is not known");
  return counting;
}

test("lowLatency() reads and writes without Deno once both ends have taken turns", async () => {
  await using dir = new TempDir();
  using both = await withPeer(dir);
  const counting = counted(both.conn);
  for (let i = 0; i < 200; i++) await takeTurn(both.conn, both.peer);
  assertEquals(counting.writes, WARM_UP - 1);
  // On a busy machine, looking may take longer than waiting. Then it is left out.
  assert(counting.reads < 200, "no read has found bytes by itself");
  assertEquals([both.conn.bytesRead, both.conn.bytesWritten], [800, 800]);
});

test("lowLatency() waits as usual while another connection of the process is busy", async () => {
  await using dir = new TempDir();
  await using other = new TempDir();
  using both = await withPeer(dir);
  using busy = await withPeer(other);
  const counting = counted(both.conn);
  for (let i = 0; i < 100; i++) {
    await takeTurn(both.conn, both.peer);
    await takeTurn(busy.conn, busy.peer);
  }
  assertEquals([counting.reads, counting.writes], [100, 100]);
  for (let i = 0; i < 100; i++) await takeTurn(both.conn, both.peer);
  assertEquals(counting.writes, 100 + WARM_UP - 1);
});

test("lowLatency() leaves bulk as it is", async () => {
  await using dir = new TempDir();
  using both = await withPeer(dir);
  const counting = counted(both.conn);
  const chunk = new Uint8Array(64 * 1024);
  const buffer = new Uint8Array(64 * 1024);
  for (let i = 0; i < 50; i++) {
    await both.peer.write(chunk);
    for (let got = 0; got < chunk.length;) got += await both.conn.read(buffer) ?? Infinity;
    await both.conn.write(chunk);
    for (let got = 0; got < chunk.length;) got += await both.peer.read(buffer) ?? Infinity;
  }
  assert(counting.reads >= 50 && counting.writes >= 50);
});

test("lowLatency() keeps the order of reads that were pending before", async () => {
  await using dir = new TempDir();
  using both = await withPeer(dir);
  const { conn, peer } = both;
  const first = new Uint8Array(1);
  const before = conn.read(first);
  lowLatency(conn);
  const buffers = Array.from({ length: 40 }, () => new Uint8Array(1));
  const reads = [];
  for (const buffer of buffers) {
    await conn.write(MESSAGE);
    reads.push(conn.read(buffer));
  }
  for (let i = 0; i <= buffers.length; i++) await peer.write(Uint8Array.of(i));
  assertEquals(await Promise.all([before, ...reads]), Array(41).fill(1));
  assertEquals([first, ...buffers].map(([byte]) => byte), Array.from({ length: 41 }, (_, i) => i));
});

test("lowLatency() runs timers and other sockets while bytes are always there", async () => {
  await using dir = new TempDir();
  await using other = new TempDir();
  using both = await withPeer(dir);
  using waiting = await withPeer(other);
  counted(both.conn, 0);
  const started = performance.now();
  let ticks = 0;
  const timer = setInterval(() => ticks++, 5);
  let readsUntilOther = Infinity;
  let reads = 0;
  waiting.peer.read(new Uint8Array(1)).then(() => readsUntilOther = reads);
  const lot = new Uint8Array(64 * 1024);
  const byte = new Uint8Array(1);
  await both.peer.write(lot);
  await waiting.conn.write(MESSAGE);
  // On a busy machine this process runs for a part of the time only.
  while (performance.now() - started < 150 || ticks < 5 && performance.now() - started < 3000) {
    if (++reads % lot.length === 0) await both.peer.write(lot);
    await both.conn.read(byte);
  }
  clearInterval(timer);
  assert(ticks >= 5, `a timer of 5 ms fired ${ticks} times in 3 s`);
  assert(readsUntilOther < 3000, `another socket was read after ${readsUntilOther} reads`);
});

test("lowLatency(): close() rejects a read that yields to others, and those behind it", async () => {
  await using dir = new TempDir();
  using both = await withPeer(dir);
  counted(both.conn, 0);
  const byte = new Uint8Array(1);
  for (;;) {
    await both.peer.write(new Uint8Array(1000));
    let reads: Promise<number | null>[] = [];
    for (let i = 0; i < 1000; i++) {
      let isPending = true;
      reads = [both.conn.read(byte)];
      const settle = () => isPending = false;
      reads[0]!.then(settle, settle);
      for (let i = 0; i < 20 && isPending; i++) await undefined;
      if (isPending) break;
      reads = [];
    }
    if (reads.length === 0) continue;
    reads.push(both.conn.read(byte));
    both.conn.close();
    await Promise.all(reads.map((read) => assertRejects(() => read, ConnectionClosed)));
    return;
  }
});

test("lowLatency() never uses the descriptor after close()", async () => {
  await using dir = new TempDir();
  using both = await withPeer(dir);
  counted(both.conn, 0);
  const transport = transportOf(both.conn)!;
  const fd = transport.fd;
  both.conn.close();
  assertEquals(transport.fd, undefined);
  await turn();
  // The numbers are used again.
  const sockets = Array.from({ length: 8 }, () => new Sockets());
  const again = sockets.find(({ a, b }) => a === fd || b === fd);
  assert(again !== undefined, `${fd} was not used again`);
  const [same, peer] = again.a === fd ? [again.a, again.b] : [again.b, again.a];
  send(peer, 3);
  await assertRejects(() => both.conn.read(new Uint8Array(9)), ConnectionClosed);
  await assertRejects(() => both.conn.write(MESSAGE), ConnectionClosed);
  assertEquals([receive(same), receive(peer)], [3, -1]);
  for (const pair of sockets) pair[Symbol.dispose]();
});

test("lowLatency() of a pair keeps the bytes in order, also those that node:net holds", async () => {
  await using child = await pair("sh", { args: ["-c", "exec cat <&3 >&3"] });
  counted(child.conn, 0);
  const bytes = crypto.getRandomValues(new Uint8Array(60_000));
  const writing = (async () => {
    for (let at = 0; at < bytes.length; at += 1500) {
      await child.conn.write(bytes.subarray(at, at + 1500));
      if (at % 9000 === 0) await turn();
    }
    await child.conn.closeWrite();
  })();
  const got = [];
  for (let size = 1;; size = size * 7 % 4093) {
    const buffer = new Uint8Array(size);
    const count = await child.conn.read(buffer);
    if (count === null) break;
    got.push(...buffer.subarray(0, count));
  }
  await writing;
  assertEquals(got.length, bytes.length);
  assert(got.every((byte, i) => byte === bytes[i]));
});

test("lowLatency() can be called again, to change how long a read looks", async () => {
  const [a, b] = await socketpair();
  lowLatency(a);
  const transport = transportOf(a);
  lowLatency(a, { lookFor: 1000 });
  assertEquals(transportOf(a), transport);
  a.close();
  b.close();
  const error = assertThrows(() => lowLatency(a), ConnectionClosed);
  assertEquals(
    error.message,
    "Cannot lower the latency to the unnamed peer: the connection has closed",
  );
});

test("lowLatency() refuses what is not a connection, and wrong options", async () => {
  const wrong = lowLatency as (...args: unknown[]) => void;
  assertThrows(() => wrong({}), TypeError, "expected a Connection");
  const [a, b] = await socketpair();
  for (const lookFor of [0, 1001, 1.5]) {
    assertThrows(() => lowLatency(a, { lookFor }), RangeError, "Invalid lookFor");
  }
  assertThrows(() => wrong(a, { lookfor: 20 }), TypeError, "lookfor");
  a.close();
  b.close();
});
