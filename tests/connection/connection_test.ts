import {
  connect,
  type Connection,
  ConnectionClosed,
  isSocketError,
  listen,
  type SocketError,
  toConnection,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import {
  decode,
  encode,
  fixture,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
  within,
} from "../_helpers.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** A connection of ours, and the other end as Deno gives it: what that does is not under test. */
async function withPeer(dir: TempDir) {
  const path = dir.file("c.sock");
  const listener = Deno.listen({ transport: "unix", path });
  const [peer, conn] = await Promise.all([listener.accept(), connect(path)]);
  listener.close();
  return {
    path,
    peer,
    conn,
    [Symbol.dispose]() {
      conn.close();
      peer[Symbol.dispose]();
    },
  };
}

/** Both ends of a connection, both ours. */
async function bothEnds(dir: TempDir) {
  const { path, peer, conn } = await withPeer(dir);
  const left = toConnection(peer);
  return {
    path,
    left,
    right: conn,
    [Symbol.dispose]() {
      left.close();
      conn.close();
    },
  };
}

/** One turn of the event loop: what was ready has been handled. */
function turn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Resolves when the kernel takes no more: nothing was written for some turns of the event loop. */
async function untilFull(conn: Connection): Promise<void> {
  for (let quiet = 0, seen = -1; quiet < 20;) {
    await turn();
    quiet = conn.bytesWritten === seen ? quiet + 1 : 0;
    seen = conn.bytesWritten;
  }
}

/** Whether a promise is still pending after some turns of the event loop. */
async function isPending(promise: Promise<unknown>): Promise<boolean> {
  let pending = true;
  const settle = () => void (pending = false);
  promise.then(settle, settle);
  for (let i = 0; i < 5; i++) await turn();
  return pending;
}

/** How many descriptors this process has open. */
function openDescriptors(): number {
  return [...Deno.readDirSync("/dev/fd")].length;
}

function concat(chunks: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let end = 0;
  for (const chunk of chunks) {
    all.set(chunk, end);
    end += chunk.length;
  }
  return all;
}

/** Compares at length, without a listing of a million bytes where they differ. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) {
    if (actual[i] !== expected[i]) throw new Error(`byte ${i} of ${expected.length} differs`);
  }
}

/** What a promise rejects with, which must have the shape of this package's errors. */
async function errorOf(promise: Promise<unknown>): Promise<SocketError> {
  const error = await assertRejects(() => promise, Error);
  assert(isSocketError(error), `${error} has no operation and path`);
  return error;
}

/** The flags of a fixture that listens at a path or connects to it. */
function flags(path: string): string[] {
  const files = `${path},${path}.lock`;
  return [`--allow-read=${files}`, `--allow-write=${files}`, `--allow-net=unix:${path}`];
}

// Bytes -------------------------------------------------------------------------------------------

test(
  "write() of eight writers at once is whole, unmixed and in call order: 64 MiB and back",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("e.sock");
    await using server = fixture("peer_echo.ts", flags(path), [path]);
    assertEquals(await server.line(), "ready");
    await using conn = await connect(path);

    const WRITERS = 8;
    const HEADER = 12;
    const share = 64 * MIB / WRITERS;
    const random = pseudoRandom(64 * MIB, 7);
    const sizes = pseudoRandom(4096, 11);
    // Every record says who wrote it, which of its writer's it is and how long it is.
    const calls: Uint8Array[] = [];
    let sent = 0;
    const writer = async (id: number) => {
      const start = id * share;
      let seq = 0;
      let recent: Promise<number>[] = [];
      for (let done = 0; done < share;) {
        // From 1 byte to 1 MiB, all orders of magnitude alike.
        const wanted = Math.floor(2 ** (sizes[(id * 509 + seq) % sizes.length]! / 255 * 20));
        const length = Math.min(wanted, share - done);
        const record = new Uint8Array(HEADER + length);
        new Uint32Array(record.buffer, 0, 3).set([id, seq++, length]);
        record.set(random.subarray(start + done, start + done + length), HEADER);
        done += length;
        calls.push(record);
        sent += record.length;
        recent.push(conn.write(record));
        // Some writes are awaited, some come in a burst.
        if (record[HEADER]! % 3 > 0) continue;
        await Promise.all(recent);
        recent = [];
      }
      await Promise.all(recent);
    };
    const reading = readAll(conn);
    await Promise.all(Array.from({ length: WRITERS }, (_, id) => writer(id)));
    await conn.closeWrite();
    const received = await reading;

    assertEquals([received.length, conn.bytesWritten, conn.bytesRead], [sent, sent, sent]);
    let at = 0;
    let previous = -1;
    let changes = 0;
    for (const record of calls) {
      const header = [...new Uint32Array(received.slice(at, at + HEADER).buffer)];
      assertEquals(header, [...new Uint32Array(record.buffer, 0, 3)]);
      assertSameBytes(received.subarray(at, at + record.length), record);
      if (header[0] !== previous) changes++;
      previous = header[0]!;
      at += record.length;
    }
    assert(changes > calls.length / 10, `the writers took turns only ${changes} times`);
    await conn.closed;
  },
  { deadline: 20_000 },
);

test("write() resolves to the number of bytes, also of 0 and of more than the kernel holds", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  assertEquals(await right.write(new Uint8Array(0)), 0);
  const data = pseudoRandom(3 * MIB + 1, 3);
  const reading = readAll(left);
  assertEquals(await right.write(data), data.length);
  await right.closeWrite();
  assertSameBytes(await reading, data);
  assertEquals([right.bytesWritten, right.bytesRead], [data.length, 0]);
  assertEquals([left.bytesWritten, left.bytesRead], [0, data.length]);
});

test("write() of a part of a larger buffer sends that part", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const reading = readAll(left);
  const data = pseudoRandom(2 * MIB, 4);
  await right.write(data.subarray(1000, 1_500_000));
  await right.closeWrite();
  assertSameBytes(await reading, data.slice(1000, 1_500_000));
});

test("read() fills only the part of a larger buffer that it was given", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  await left.write(encode("abcdef"));
  const whole = encode("........");
  assertEquals(await right.read(whole.subarray(2, 5)), 3);
  assertEquals(decode(whole), "..abc...");
});

test("read() serves several calls at once first come, first served", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const buffers = Array.from({ length: 5 }, () => new Uint8Array(2));
  const reads = buffers.map((buffer) => conn.read(buffer));
  await peer.write(encode("aabbccddee"));
  assertEquals(await Promise.all(reads), [2, 2, 2, 2, 2]);
  assertEquals(buffers.map(decode), ["aa", "bb", "cc", "dd", "ee"]);
});

test("read() with an empty buffer gives 0 at once, though nothing has come", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  assertEquals(await pair.conn.read(new Uint8Array(0)), 0);
});

test("read() gives null again at each call after the end of file", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await peer.closeWrite();
  for (const length of [8, 8, 0]) assertEquals(await conn.read(new Uint8Array(length)), null);
  // Also when the descriptor has closed by itself.
  await conn.closeWrite();
  await conn.closed;
  assertEquals(await conn.read(new Uint8Array(8)), null);
});

test("read() gives null to all who wait when the end of file closes the descriptor", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await conn.closeWrite();
  const reads = [1, 2, 3].map(() => conn.read(new Uint8Array(8)));
  await peer.closeWrite();
  assertEquals(await Promise.all(reads), [null, null, null]);
  await conn.closed;
});

test("read() and write() refuse what is no Uint8Array", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn } = pair;
  await assertRejects(() => conn.read([] as never), TypeError, "expected a Uint8Array");
  await assertRejects(() => conn.write("text" as never), TypeError, "new TextEncoder()");
  await assertRejects(() => conn.write(new ArrayBuffer(1) as never), TypeError, "ArrayBuffer");
  // Nothing was done: the connection works.
  await conn.write(encode("ok"));
  assertEquals(await readText(pair.peer), "ok");
});

// Half-close --------------------------------------------------------------------------------------

test("closeWrite() lets a reply through that comes after the end of file", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  await right.write(encode("question"));
  await right.closeWrite();
  assertEquals(decode(await readAll(left)), "question");
  await left.write(encode("answer"));
  await left.closeWrite();
  assertEquals(decode(await readAll(right)), "answer");
  await Promise.all([left.closed, right.closed]);
});

test("write() goes on after the peer's end of file", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await peer.closeWrite();
  assertEquals(await conn.read(new Uint8Array(1)), null);
  const data = pseudoRandom(MIB, 5);
  const reading = readAll(peer);
  await conn.write(data);
  await conn.closeWrite();
  assertSameBytes(await reading, data);
  await conn.closed;
});

test("writable.close() lets a reply through that comes after the end of file", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const asking = right.writable.getWriter();
  await asking.write(encode("question"));
  await asking.close();
  assertEquals(await new Response(left.readable).text(), "question");
  const answering = left.writable.getWriter();
  await answering.write(encode("answer"));
  await answering.close();
  assertEquals(await new Response(right.readable).text(), "answer");
  await Promise.all([left.closed, right.closed]);
});

test("readable ends without closing anything: writable goes on", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await peer.write(encode("question"));
  await peer.closeWrite();
  assertEquals(await new Response(conn.readable).text(), "question");
  const reading = readAll(peer);
  const writer = conn.writable.getWriter();
  await writer.write(encode("answer"));
  assert(await isPending(conn.closed), "the descriptor was closed with one direction open");
  await writer.close();
  assertEquals(decode(await reading), "answer");
  await conn.closed;
});

test("closeWrite() sends the end of file after the writes that were queued before", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const data = [1, 2, 3].map((seed) => pseudoRandom(400_000, seed));
  const writes = data.map((piece) => conn.write(piece));
  const ending = conn.closeWrite();
  assert(await isPending(ending), "the end of file overtook the bytes");
  assertSameBytes(await readAll(peer), concat(data));
  await Promise.all([...writes, ending]);
});

test("closeWrite() is idempotent", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await Promise.all([conn.closeWrite(), conn.closeWrite()]);
  await conn.closeWrite();
  assertEquals(await peer.read(new Uint8Array(1)), null);
  await peer.write(encode("still here"));
  assertEquals(await readText(conn), "still here");
  peer.close();
  assertEquals(await readText(conn), null);
  await conn.closed;
  await conn.closeWrite();
});

test("closeWrite() resolves when the peer is gone", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  pair.peer.close();
  await pair.conn.closeWrite();
  assertEquals(await readText(pair.conn), null);
  await pair.conn.closed;
});

test("write() after closeWrite() rejects with ConnectionClosed and the bytes", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, path } = pair;
  await conn.closeWrite();
  const error = await errorOf(conn.write(encode("late")));
  assertInstanceOf(error, ConnectionClosed);
  assertInstanceOf(error, Deno.errors.BadResource);
  assertEquals(
    error.message,
    `Cannot write to ${JSON.stringify(path)}: closeWrite() was called on this side, ` +
      `and 4 bytes were not sent`,
  );
  assertEquals([error.name, error.operation, error.path], ["ConnectionClosed", "write", path]);
  assertEquals(error.unsent, encode("late"));
});

/** Two connections: what comes on one is to be piped to the other; `outer` are the ends beyond them. */
async function twoConnections(dir: TempDir) {
  const [a, b] = [await bothEnds(dir), await bothEnds(dir)];
  return {
    from: a.left,
    to: b.left,
    outer: [a.right, b.right] as const,
    [Symbol.dispose]() {
      a[Symbol.dispose]();
      b[Symbol.dispose]();
    },
  };
}

test("readable.pipeTo(writable) of another connection passes bytes and the end on, and frees both", async () => {
  await using dir = new TempDir();
  using both = await twoConnections(dir);
  const { from, to, outer: [source, sink] } = both;
  const data = pseudoRandom(3 * MIB + 17, 5);
  const piped = from.readable.pipeTo(to.writable);
  assert(from.readable.locked && to.writable.locked);
  const sent = source.write(data).then(() => source.closeWrite());
  assertEquals(await readAll(sink), data);
  await Promise.all([piped, sent]);
  assert(!from.readable.locked && !to.writable.locked);
  assertEquals([from.bytesRead, to.bytesWritten], [data.length, data.length]);
  // The way back is open.
  await sink.write(encode("back"));
  assertEquals(await readText(to), "back");
  await assertRejects(() => to.write(encode("x")), ConnectionClosed, "closeWrite() was called");
});

test("readable.pipeTo(writable) gives up the source when the target fails", async () => {
  await using dir = new TempDir();
  using both = await twoConnections(dir);
  const { from, to, outer: [source, sink] } = both;
  const piped = from.readable.pipeTo(to.writable);
  sink.close();
  await source.write(encode("to nobody"));
  await assertRejects(() => piped, Deno.errors.BrokenPipe, "Cannot write to");
  // Its direction is given up, and with the other one it ends.
  await from.closeWrite();
  await from.closed;
  assert(!from.readable.locked && !to.writable.locked);
});

test("readable.pipeTo(writable) closes the target when the source fails", async () => {
  await using dir = new TempDir();
  using both = await twoConnections(dir);
  const { from, to, outer: [, sink] } = both;
  const piped = from.readable.pipeTo(to.writable);
  from.close();
  await assertRejects(() => piped, ConnectionClosed, "close() was called on this side");
  await to.closed;
  assertEquals(await readText(sink), null);
});

test("readable.pipeTo(writable) with preventClose leaves the target open", async () => {
  await using dir = new TempDir();
  using both = await twoConnections(dir);
  const { from, to, outer: [source, sink] } = both;
  const piped = from.readable.pipeTo(to.writable, { preventClose: true });
  await source.write(encode("one "));
  await source.closeWrite();
  await piped;
  await to.write(encode("two"));
  await to.closeWrite();
  assertEquals(decode(await readAll(sink)), "one two");
});

test("readable.pipeTo(writable) ends with its signal", async () => {
  await using dir = new TempDir();
  using both = await twoConnections(dir);
  const { from, to } = both;
  const controller = new AbortController();
  const piped = from.readable.pipeTo(to.writable, { signal: controller.signal });
  controller.abort(new Error("enough"));
  await assertRejects(() => piped, Error, "enough");
  await to.closed;
});

test("readable.pipeTo(writable) refuses ends that are locked, and one that is closed", async () => {
  await using dir = new TempDir();
  using both = await twoConnections(dir);
  const { from, to } = both;
  const reader = from.readable.getReader();
  await assertRejects(() => from.readable.pipeTo(to.writable), TypeError, "locked");
  reader.releaseLock();
  const writer = to.writable.getWriter();
  await assertRejects(() => from.readable.pipeTo(to.writable), TypeError, "locked");
  await writer.close();
  writer.releaseLock();
  await assertRejects(() => from.readable.pipeTo(to.writable), TypeError, "clos");
});

test("readable.pipeTo(writable) does not touch chunks that somebody else sees", async () => {
  await using dir = new TempDir();
  using both = await twoConnections(dir);
  const { from, to, outer: [source, sink] } = both;
  const seen: Uint8Array[] = [];
  const keep = new TransformStream<Uint8Array, Uint8Array>({
    transform(chunk, controller) {
      seen.push(chunk);
      controller.enqueue(chunk);
    },
  });
  const piped = from.readable.pipeThrough(keep).pipeTo(to.writable);
  const data = pseudoRandom(MIB, 6);
  const sent = source.write(data).then(() => source.closeWrite());
  assertEquals(await readAll(sink), data);
  await Promise.all([piped, sent]);
  assertEquals(new Uint8Array(await new Blob(seen as BlobPart[]).arrayBuffer()), data);
});

test("readable.pipeTo(writable) is an echo server, and 200 connections leave nothing", async () => {
  await using dir = new TempDir();
  await using listener = await listen(dir.file("e.sock"));
  const echo = async (text: string) => {
    const [server, client] = await Promise.all([listener.accept(), connect(dir.file("e.sock"))]);
    const echoing = server.readable.pipeTo(server.writable);
    await client.write(encode(text));
    await client.closeWrite();
    assertEquals(decode(await readAll(client)), text);
    await echoing;
    // Nobody called close().
    await Promise.all([server.closed, client.closed]);
  };
  await echo("warm up");
  const before = openDescriptors();
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => echo(`hello ${round} ${i}`)));
  }
  assertEquals(openDescriptors(), before);
});

// Backpressure and memory -------------------------------------------------------------------------

test("write() is held back by a reader that stalls, and everything arrives", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const data = pseudoRandom(16 * MIB, 9);
  let resolved = 0;
  const writing = (async () => {
    for (let at = 0; at < data.length; at += 64 * KIB) {
      resolved += await right.write(data.subarray(at, at + 64 * KIB));
    }
    await right.closeWrite();
  })();
  // A stream that is open and not read from reads nothing ahead either.
  const reader = left.readable.getReader();
  await untilFull(right);
  assert(resolved < MIB, `${resolved} bytes were taken, and none were read`);

  const chunks: Uint8Array[] = [];
  let read = 0;
  for (;;) {
    assert(resolved - read < MIB, `${resolved - read} bytes were written and not read`);
    const { value, done } = await reader.read();
    if (done) break;
    chunks.push(value);
    read += value.length;
    if (chunks.length % 16 === 0) await untilFull(right);
  }
  await writing;
  assertSameBytes(concat(chunks), data);
});

test("write() is held back also where nobody awaits it", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const pieces = Array.from({ length: 64 }, (_, i) => pseudoRandom(64 * KIB, i + 1));
  let resolved = 0;
  for (const piece of pieces) conn.write(piece).then((count) => resolved += count);
  conn.closeWrite();
  await untilFull(conn);
  assert(resolved < MIB && conn.bytesWritten < MIB, `${resolved} bytes were taken`);
  assertSameBytes(await readAll(peer), concat(pieces));
  assertEquals(resolved, 4 * MIB);
});

for (const how of ["methods", "streams"]) {
  test(`Connection keeps its memory over 1 GiB, by its ${how}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("f.sock");
    await using receiver = fixture("peer_flood.ts", flags(path), ["receive", how, path, "1024"]);
    assertEquals(await receiver.line(), "ready");
    await using sender = fixture("peer_flood.ts", flags(path), ["send", how, path, "1024"]);
    for (const [role, program] of Object.entries({ sender, receiver })) {
      const { moved, growth } = JSON.parse(await program.line());
      console.log(`memory over 1 GiB, ${role}, by its ${how}: +${growth.toFixed(1)} MiB`);
      assertEquals(moved, 1024 * MIB);
      assert(growth < 64, `the ${role} grew by ${growth} MiB`);
    }
    assertEquals((await sender.status).code, 0);
    assertEquals((await receiver.status).code, 0);
  }, { deadline: 20_000 });
}

// Streams -----------------------------------------------------------------------------------------

test("readable serves a reader that brings its own buffer, until the end", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reader = conn.readable.getReader({ mode: "byob" });
  await peer.write(encode("hello"));
  const first = await reader.read(new Uint8Array(3));
  assertEquals(decode(first.value!), "hel");
  const second = await reader.read(new Uint8Array(new ArrayBuffer(100), 10, 50));
  assertEquals([decode(second.value!), second.value!.byteOffset], ["lo", 10]);

  const waiting = reader.read(new Uint8Array(10), { min: 10 });
  await peer.write(encode("01234"));
  await readsSoFar(conn, 10);
  await peer.write(encode("56789"));
  assertEquals(decode((await waiting).value!), "0123456789");

  const last = reader.read(new Uint8Array(8));
  await peer.closeWrite();
  assertEquals((await last).done, true);
  assertEquals((await last).value?.byteLength, 0);
  // The way out is still open.
  await conn.write(encode("bye"));
  assertEquals(await readText(peer), "bye");
});

/** Resolves when so many bytes were read. */
async function readsSoFar(conn: Connection, count: number): Promise<void> {
  while (conn.bytesRead < count) await turn();
}

test("readable's chunks hold at most twice their bytes and a page", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, right } = ends;
  const reader = right.readable.getReader();
  // Up and down, because the buffers grow and shrink with what comes.
  const sizes = [1, 100, 9_000, 60_000, 190_000, 190_000, 190_000, 190_000, 7, 30_000, 1, 1, 5_000];
  let pinned = 0;
  for (const [i, size] of sizes.entries()) {
    const data = pseudoRandom(size, i + 1);
    const writing = left.write(data);
    const chunks: Uint8Array[] = [];
    for (let read = 0; read < size;) {
      const { value } = await reader.read();
      const { byteLength, buffer } = value!;
      assert(
        buffer.byteLength <= 2 * byteLength + 4096,
        `a chunk of ${byteLength} bytes holds ${buffer.byteLength}`,
      );
      pinned = Math.max(pinned, byteLength);
      chunks.push(value!);
      read += byteLength;
    }
    await writing;
    assertSameBytes(concat(chunks), data);
  }
  assert(pinned > 32 * KIB, `the largest chunk had only ${pinned} bytes`);
});

for (const mode of ["default", "byob"] as const) {
  test(`readable cancelled while it reads (${mode}) leaves the bytes to the next reads, in order`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    const reader = mode === "byob" ? conn.readable.getReader({ mode }) : conn.readable.getReader();
    const pending = reader.read(new Uint8Array(64) as never);
    await turn();
    await reader.cancel();
    assertEquals((await pending).done, true);

    const buffers = [2, 3, 1, 4].map((length) => new Uint8Array(length));
    const reads = buffers.map((buffer) => conn.read(buffer));
    await peer.write(encode("aabbbc"));
    assertEquals(await Promise.all(reads.slice(0, 3)), [2, 3, 1]);
    await peer.write(encode("dddd"));
    assertEquals(await reads[3], 4);
    assertEquals(buffers.map(decode), ["aa", "bbb", "c", "dddd"]);
    await peer.write(encode("more"));
    assertEquals(await readText(conn), "more");
    assertEquals(conn.bytesRead, 14);
    await peer.closeWrite();
    assertEquals(await readText(conn), null);
  });
}

test("readable cancelled while it reads leaves what a short read does not take", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reader = conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  await pending;
  await peer.write(encode("abc"));
  for (const letter of ["a", "b", "c"]) {
    const buffer = new Uint8Array(1);
    assertEquals(await conn.read(buffer), 1);
    assertEquals(decode(buffer), letter);
  }
  await peer.closeWrite();
  assertEquals(await readText(conn), null);
});

test("read() with an empty buffer gives 0 at once, though a cancelled stream still reads", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reader = conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  await pending;
  assertEquals(await within(1000, conn.read(new Uint8Array(0))), 0);
  await peer.write(encode("later"));
  assertEquals(await readText(conn), "later");
});

test("readable cancelled before the end of file gives null to the next reads", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reader = conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  await pending;
  const reads = [conn.read(new Uint8Array(4)), conn.read(new Uint8Array(4))];
  await peer.closeWrite();
  assertEquals(await Promise.all(reads), [null, null]);
});

test("readable left in the middle of a loop loses nothing", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await peer.write(encode("first"));
  for await (const chunk of conn.readable) {
    assertEquals(decode(chunk), "first");
    break;
  }
  await peer.write(encode("second"));
  assertEquals(await readText(conn), "second");
});

for (const mode of ["default", "byob"] as const) {
  /** A stream that still reads for a reader that has gone. */
  const release = async (conn: Connection) => {
    const reader = mode === "byob" ? conn.readable.getReader({ mode }) : conn.readable.getReader();
    const pending = assertRejects(() => reader.read(new Uint8Array(64) as never), TypeError);
    await turn();
    reader.releaseLock();
    await pending;
  };

  test(`readable cancelled with bytes that no reader took (${mode}) leaves them to read()`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    await release(conn);
    await peer.write(encode("kept"));
    await readsSoFar(conn, 4);
    await conn.readable.cancel();
    await peer.write(encode("next"));
    assertEquals(await readText(conn), "kept");
    assertEquals(await readText(conn), "next");
  });

  test(`readable released while it reads (${mode}) leaves what comes to read(), in order`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    await release(conn);
    const reading = readText(conn);
    await peer.write(encode("one"));
    await readsSoFar(conn, 3);
    await peer.write(encode("two"));
    assertEquals(await reading, "one");
    assertEquals(await readText(conn), "two");
  });

  test(`readable released while it reads (${mode}) leaves what comes to its next reader`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    await release(conn);
    await peer.write(encode("one"));
    await readsSoFar(conn, 3);
    const reader = conn.readable.getReader();
    assertEquals(decode((await reader.read()).value!), "one");
    const waiting = reader.read();
    await peer.write(encode("two"));
    assertEquals(decode((await waiting).value!), "two");
    const last = reader.read();
    await peer.closeWrite();
    assertEquals((await last).done, true);
  });

  test(`readable released while it reads (${mode}) ends for its next reader`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    await release(conn);
    const reader = conn.readable.getReader();
    const last = reader.read();
    await peer.closeWrite();
    assertEquals((await last).done, true);
  });
}

test("await using sends what writable was given in the same turn, and its end", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  {
    await using ending = conn;
    const writer = ending.writable.getWriter();
    writer.write(encode("one"));
    writer.write(encode("two"));
    writer.close();
  }
  assertEquals(decode(await readAll(peer)), "onetwo");
});

/** What comes next: by `read()`, or by a reader of the stream that asks for up to 5 bytes. */
const NEXT: Record<string, (conn: Connection) => Promise<string>> = {
  "read()": async (conn) => await readText(conn) ?? "",
  "a reader": async (conn) => {
    const reader = conn.readable.getReader();
    const { value } = await reader.read();
    reader.releaseLock();
    return decode(value ?? new Uint8Array(0));
  },
  "a reader with its own memory": async (conn) => {
    const reader = conn.readable.getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint8Array(5));
    reader.releaseLock();
    return decode(value ?? new Uint8Array(0));
  },
};

for (const mode of ["default", "byob"] as const) {
  for (const [how, next] of Object.entries(NEXT)) {
    for (const early of [true, false]) {
      const when = early ? "before" : "after";
      test(
        `readable released at once or while it reads (${mode}), ${how} coming ${when} the bytes, loses none`,
        async () => {
          await using dir = new TempDir();
          for (let turns = 0; turns < 2; turns++) {
            using pair = await withPeer(dir);
            const { conn, peer } = pair;
            // The stream has read before, and will again.
            await peer.write(encode("first"));
            const reader = mode === "byob"
              ? conn.readable.getReader({ mode })
              : conn.readable.getReader();
            await reader.read(new Uint8Array(5) as never);
            const pending = assertRejects(() => reader.read(new Uint8Array(3) as never), TypeError);
            for (let i = 0; i < turns; i++) await turn();
            reader.releaseLock();
            await pending;

            let text = "";
            if (early) {
              const waiting = next(conn);
              await turn();
              await peer.write(encode("a few bytes"));
              text += await waiting;
            } else {
              await peer.write(encode("a few bytes"));
              await turn();
            }
            while (text.length < 5) text += await next(conn);
            await peer.closeWrite();
            text += decode(await readAll(conn));
            assertEquals(text, "a few bytes");
          }
        },
        { deadline: 1000 },
      );
    }
  }
}

test("readable given up by one reader goes on with the next one", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const first = conn.readable.getReader();
  await peer.write(encode("one"));
  assertEquals(decode((await first.read()).value!), "one");
  first.releaseLock();
  await peer.write(encode("two"));
  assertEquals(await readText(conn), "two");
  await peer.write(encode("three"));
  const second = conn.readable.getReader();
  assertEquals(decode((await second.read()).value!), "three");
});

test("readable.cancel() and then closeWrite() close the descriptor", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const before = openDescriptors();
  await conn.readable.cancel();
  assert(await isPending(conn.closed), "it closed with writing still open");
  await conn.write(encode("last"));
  await conn.closeWrite();
  await conn.closed;
  assertEquals(openDescriptors(), before - 1);
  assertEquals(decode(await readAll(peer)), "last");
});

test("readable.cancel() after closeWrite() closes the descriptor, also while it reads", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn } = pair;
  await conn.closeWrite();
  const reader = conn.readable.getReader();
  const pending = reader.read();
  await turn();
  await reader.cancel();
  assertEquals((await pending).done, true);
  await conn.closed;
  const error = await errorOf(conn.read(new Uint8Array(1)));
  assertInstanceOf(error, ConnectionClosed);
  assertEquals(error.operation, "read");
});

test("writable.abort() closes the connection", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const reading = conn.read(new Uint8Array(1));
  await Promise.all([
    conn.writable.abort(new Error("enough")),
    assertRejects(() => reading, ConnectionClosed),
    conn.closed,
  ]);
  assertEquals(await peer.read(new Uint8Array(1)), null);
});

test("readable fails with ConnectionReset when the peer leaves with bytes unread", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer, path } = pair;
  await conn.write(encode("unread"));
  await peer.write(encode("bye"));
  peer.close();
  const reader = conn.readable.getReader();
  assertEquals(decode((await reader.read()).value!), "bye");
  const error = await errorOf(reader.read());
  assertInstanceOf(error, Deno.errors.ConnectionReset);
  assertEquals([error.operation, error.path], ["read", path]);
  await assertRejects(() => reader.closed, Deno.errors.ConnectionReset);
  await conn.closed;
});

// Failures ----------------------------------------------------------------------------------------

test("close() rejects pending reads, and queued writes with what was not sent", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer, path } = pair;
  const data = [700_000, 1, 300_000, 5].map((length, i) => pseudoRandom(length, i + 1));
  const reads = [conn.read(new Uint8Array(1)), conn.read(new Uint8Array(1))];
  const writes = data.map((piece) => conn.write(piece));
  const ending = conn.closeWrite();
  await untilFull(conn);
  assert(conn.bytesWritten > 0 && conn.bytesWritten < 700_000, "the first write is not half done");
  conn.close();

  for (const read of reads) {
    const error = await errorOf(read);
    assertInstanceOf(error, ConnectionClosed);
    assertEquals([error.operation, error.path, error.unsent], ["read", path, undefined]);
    assertEquals(
      error.message,
      `Cannot read from ${JSON.stringify(path)}: close() was called on this side`,
    );
  }
  const unsent = [];
  for (const write of writes) {
    const error = await errorOf(write);
    assertInstanceOf(error, ConnectionClosed);
    assertEquals([error.operation, error.path], ["write", path]);
    assert(error.message.endsWith(`, and ${error.unsent!.length} bytes were not sent`));
    unsent.push(error.unsent!);
  }
  const ended = await errorOf(ending);
  assertInstanceOf(ended, ConnectionClosed);
  assertEquals([ended.operation, ended.path], ["closeWrite", path]);
  await conn.closed;

  const received = await readAll(peer);
  assertEquals(received.length, conn.bytesWritten);
  assertSameBytes(concat([received, ...unsent]), concat(data));
});

test("close() at any moment: what the peer got and what was unsent is everything", async () => {
  await using dir = new TempDir();
  const data = [90_000, 250_000, 3, 400_000].map((length, i) => pseudoRandom(length, i + 1));
  const all = concat(data);
  let cut = 0;
  for (let round = 0; round < 60; round++) {
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    const reading = readAll(peer);
    const writes = data.map((piece) => conn.write(piece));
    // The peer reads at the same time: some writes are done when it closes, one is under way.
    for (let i = 0; i < round % 12; i++) await (round % 2 ? turn() : Promise.resolve());
    conn.close();
    const unsent = [];
    for (const [i, result] of (await Promise.allSettled(writes)).entries()) {
      if (result.status === "rejected") unsent.push(result.reason.unsent as Uint8Array);
      else assertEquals(result.value, data[i]!.length);
    }
    const received = await reading;
    assertEquals(received.length, conn.bytesWritten);
    assertSameBytes(concat([received, ...unsent]), all);
    if (received.length > 0 && unsent.length > 0) cut++;
  }
  assert(cut > 10, `only ${cut} of 60 were closed half way`);
});

test("read(), write() and closeWrite() after close() reject with ConnectionClosed", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, path } = pair;
  conn.close();
  const errors = {
    read: await errorOf(conn.read(new Uint8Array(1))),
    write: await errorOf(conn.write(encode("late"))),
    closeWrite: await errorOf(conn.closeWrite()),
  };
  for (const [operation, error] of Object.entries(errors)) {
    assertInstanceOf(error, ConnectionClosed);
    assertEquals([error.operation, error.path], [operation, path]);
    assert(error.message.includes("close() was called on this side"), error.message);
  }
  assertEquals(errors.write.unsent, encode("late"));
});

test("write() of no bytes passes until the peer has left, then it rejects with BrokenPipe", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  assertEquals(await conn.write(new Uint8Array(0)), 0);
  await peer.closeWrite();
  assertEquals(await readText(conn), null);
  // Only one of its directions has ended.
  assertEquals(await conn.write(new Uint8Array(0)), 0);
  peer.close();
  assertInstanceOf(await errorOf(conn.write(new Uint8Array(0))), Deno.errors.BrokenPipe);
  assertEquals(conn.bytesWritten, 0);
});

test("write() to a peer that has left rejects with BrokenPipe; what it had sent is there", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer, path } = pair;
  await peer.write(encode("last words"));
  peer.close();
  const data = pseudoRandom(1000, 1);
  const error = await errorOf(conn.write(data));
  assertInstanceOf(error, Deno.errors.BrokenPipe);
  assertEquals(
    error.message,
    `Cannot write to ${JSON.stringify(path)}: the peer has closed the connection`,
  );
  assertEquals([error.operation, error.path, error.code], ["write", path, "EPIPE"]);
  assertInstanceOf(error.cause, Deno.errors.BrokenPipe);
  assertEquals(error.unsent, data);
  assertEquals(await readText(conn), "last words");
  assertEquals(await readText(conn), null);
  // Nothing is left to do in either direction.
  await conn.closed;
});

test("write() that is half done when the peer leaves tells what the kernel did not take", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  const data = pseudoRandom(2 * MIB, 6);
  await peer.write(encode("last words"));
  const writes = [conn.write(data), conn.write(encode("queued"))];
  await untilFull(conn);
  peer.close();
  const [first, second] = [await errorOf(writes[0]!), await errorOf(writes[1]!)];
  for (const error of [first, second]) assertInstanceOf(error, Deno.errors.BrokenPipe);
  assert(conn.bytesWritten > 0);
  assertSameBytes(first.unsent!, data.subarray(conn.bytesWritten));
  assertEquals(second.unsent, encode("queued"));
  assertEquals(await readText(conn), "last words");
});

test("read() rejects with ConnectionReset when the peer left with bytes unread, for good", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer, path } = pair;
  await conn.write(encode("unread"));
  await peer.write(encode("bye"));
  peer.close();
  assertEquals(await readText(conn), "bye");
  const error = await errorOf(conn.read(new Uint8Array(8)));
  assertInstanceOf(error, Deno.errors.ConnectionReset);
  assertEquals(
    error.message,
    `Cannot read from ${JSON.stringify(path)}: ` +
      `the peer closed it before reading everything that was sent`,
  );
  assertEquals([error.operation, error.path, error.code], ["read", path, "ECONNRESET"]);
  assertInstanceOf(error.cause, Deno.errors.ConnectionReset);
  await conn.closed;

  assertEquals(await errorOf(conn.read(new Uint8Array(8))), error);
  const late = await errorOf(conn.write(encode("late")));
  assertInstanceOf(late, Deno.errors.ConnectionReset);
  assertEquals([late.operation, late.path, late.code], ["write", path, "ECONNRESET"]);
  assertEquals(late.unsent, encode("late"));
});

test("write() that rejects unawaited does not end the process, nor does closeWrite()", async () => {
  await using dir = new TempDir();
  const path = dir.file("u.sock");
  await using listener = await listen(path);
  await using program = fixture("client_unawaited.ts", flags(path), [path]);
  (await listener.accept()).close();
  using _never_read = await listener.accept();
  assertEquals(await program.line(), "alive");
  assertEquals((await program.status).code, 0);
  assertEquals(await program.stderr(), "");
});

// The end -----------------------------------------------------------------------------------------

const endings: Record<string, (conn: Connection) => unknown> = {
  "close()": (conn) => conn.close(),
  "dispose": (conn) => conn[Symbol.dispose](),
  "async dispose": (conn) => conn[Symbol.asyncDispose](),
};
for (const [first, end] of Object.entries(endings)) {
  for (const [second, again] of Object.entries(endings)) {
    test(`${first} and then ${second} close the connection once`, async () => {
      await using dir = new TempDir();
      using pair = await withPeer(dir);
      const { conn, peer } = pair;
      const before = openDescriptors();
      await end(conn);
      await again(conn);
      await conn.closed;
      conn.ref();
      conn.unref();
      assertEquals(openDescriptors(), before - 1);
      assertEquals(await peer.read(new Uint8Array(1)), null);
    });
  }
}

for (const [name, end] of Object.entries(endings)) {
  test(`${name} does nothing where both directions have ended`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    peer.close();
    assertEquals(await readText(conn), null);
    await conn.closeWrite();
    await conn.closed;
    await end(conn);
    assertEquals(await readText(conn), null);
  });
}

test("await using sends what is queued before it closes", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { peer } = pair;
  const data = [pseudoRandom(2 * MIB, 8), encode("the end")];
  const reading = readAll(peer);
  {
    await using conn = pair.conn;
    for (const piece of data) conn.write(piece);
  }
  assertSameBytes(await reading, concat(data));
});

test("await using gives up after 5 seconds where the peer does not read", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const start = performance.now();
  let write;
  {
    await using conn = pair.conn;
    write = conn.write(new Uint8Array(2 * MIB));
  }
  const took = performance.now() - start;
  assert(took > 4_900 && took < 7_000, `it took ${took} ms`);
  const error = await errorOf(write);
  assertInstanceOf(error, ConnectionClosed);
  assertEquals(error.unsent?.length, 2 * MIB - pair.conn.bytesWritten);
});

test("closed resolves after a reset and after a failed write", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await conn.write(encode("unread"));
  peer.close();
  await assertRejects(() => conn.write(encode("more")), Deno.errors.BrokenPipe);
  await assertRejects(() => conn.read(new Uint8Array(1)), Deno.errors.ConnectionReset);
  assertEquals(await conn.closed, undefined);
});

test("unref() lets the process end although a read is pending", async () => {
  await using dir = new TempDir();
  const path = dir.file("u.sock");
  await using listener = await listen(path);
  await using program = fixture("client_unref.ts", flags(path), [path]);
  using _peer = await listener.accept();
  assertEquals(await program.output(), ["waiting"]);
  assertEquals((await program.status).code, 0);
});

test("ref() keeps the process alive again while a read is pending", async () => {
  await using dir = new TempDir();
  const path = dir.file("u.sock");
  await using listener = await listen(path);
  await using program = fixture("client_unref.ts", flags(path), [path, "ref"]);
  using peer = await listener.accept();
  assertEquals(await program.line(), "waiting");
  // Without ref() it would end now; the bounded delay gives it the time to.
  assert(await isPendingFor(200, program.status), "it ended");
  await peer.write(encode("go"));
  assertEquals(await program.output(), ["go"]);
  assertEquals((await program.status).code, 0);
});

/** Whether a promise is still pending after some milliseconds. */
async function isPendingFor(ms: number, promise: Promise<unknown>): Promise<boolean> {
  try {
    await within(ms, promise);
    return false;
  } catch {
    return true;
  }
}

// toConnection ------------------------------------------------------------------------------------

test("toConnection() takes what Deno.connect and a Deno.Listener give", async () => {
  await using dir = new TempDir();
  const path = dir.file("t.sock");
  const listener = Deno.listen({ transport: "unix", path });
  const raw = await Promise.all([listener.accept(), Deno.connect({ transport: "unix", path })]);
  listener.close();
  using server = toConnection(raw[0]);
  using client = toConnection(raw[1]);
  assertEquals(client.remoteAddr, { transport: "unix", path });
  assertEquals(client.localAddr, { transport: "unix", path: null });
  assertEquals(server.localAddr, { transport: "unix", path });
  assertEquals(server.remoteAddr, { transport: "unix", path: null });
  const data = pseudoRandom(MIB, 2);
  const reading = readAll(server);
  await client.write(data);
  await client.closeWrite();
  assertSameBytes(await reading, data);
  await server.closeWrite();
  assertEquals(await readText(client), null);
  await Promise.all([server.closed, client.closed]);
});

test("Connection names the server's path in the errors of an accepted connection", async () => {
  await using dir = new TempDir();
  using ends = await bothEnds(dir);
  const { left, path } = ends;
  left.close();
  const error = await errorOf(left.read(new Uint8Array(1)));
  assertEquals([error.operation, error.path], ["read", path]);
  assert(error.message.includes(JSON.stringify(path)), error.message);
});

test("toConnection() refuses a TCP connection, and leaves it open", async () => {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const [server, client] = await Promise.all([
    listener.accept(),
    Deno.connect({ hostname: "127.0.0.1", port }),
  ]);
  listener.close();
  assertThrows(() => toConnection(client as never), TypeError, 'expected the transport "unix"');
  await client.write(encode("ok"));
  assertEquals(await readText(server), "ok");
  client.close();
  server.close();
});

for (
  const [name, value] of Object.entries({
    "undefined": undefined,
    "null": null,
    "a path": "/run/app.sock",
    "an object": {},
    "a stream": new ReadableStream(),
    "something without an address": {
      read() {},
      write() {},
      closeWrite() {},
      close() {},
      ref() {},
      unref() {},
    },
  })
) {
  test(`toConnection() refuses ${name}`, () => {
    assertThrows(() => toConnection(value as never), TypeError, "Invalid connection: expected");
  });
}
