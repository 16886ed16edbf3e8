import { ConnectionClosed, listen } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  encode,
  fixture,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
  turn,
  untilFull,
} from "../_helpers.ts";
import { assertSameBytes, concat, errorOf, flags, withPeer } from "./_connection.ts";

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

test("close() at any moment accounts for every byte: received plus unsent equals written", async () => {
  await using dir = new TempDir();
  const data = [90_000, 250_000, 3, 400_000].map((length, i) => pseudoRandom(length, i + 1));
  const all = concat(data);
  let cut = 0;
  for (let round = 0; round < 60; round++) {
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    const reading = readAll(peer);
    const writes = data.map((piece) => conn.write(piece));
    // The peer reads at the same time: at the close, some writes are done and one is in progress.
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
  // Only one direction has ended.
  assertEquals(await conn.write(new Uint8Array(0)), 0);
  peer.close();
  assertInstanceOf(await errorOf(conn.write(new Uint8Array(0))), Deno.errors.BrokenPipe);
  assertEquals(conn.bytesWritten, 0);
});

test("write() to a peer that has left rejects with BrokenPipe, and what it sent can be read", async () => {
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

test("write() that is half done when the peer leaves rejects with the bytes that the kernel did not take", async () => {
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

test("read() rejects with ConnectionReset, again at each call, when the peer left with bytes unread", async () => {
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

/** What other code can do to the buffer of a write. */
const LOSSES: Record<string, (buffer: ArrayBuffer) => unknown> = {
  detached: (buffer) => structuredClone(buffer, { transfer: [buffer] }),
  resized: (buffer) => buffer.resize(10),
};

for (const [name, lose] of Object.entries(LOSSES)) {
  test(`write() rejects, and the connection closes, if its buffer is ${name} when half is sent`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer, path } = pair;
    const buffer = new ArrayBuffer(3 * MIB, { maxByteLength: 3 * MIB });
    const data = new Uint8Array(buffer);
    data.set(pseudoRandom(data.length, 1));
    const copy = data.slice();
    const writes = [conn.write(data), conn.write(encode("queued"))];
    await untilFull(conn);
    lose(buffer);
    const received = await readAll(peer);
    const error = await errorOf(writes[0]!);
    assertInstanceOf(error, TypeError);
    assertEquals(
      error.message,
      `Cannot write to ${JSON.stringify(path)}: its buffer was detached or resized while it was ` +
        "written. Await the write first",
    );
    assertEquals([error.operation, error.path, error.unsent], ["write", path, undefined]);
    assertInstanceOf(error.cause, TypeError);
    assertEquals(received.length, conn.bytesWritten);
    assertSameBytes(received, copy.subarray(0, received.length));
    // The peer would take them for the rest.
    const queued = await errorOf(writes[1]!);
    assertInstanceOf(queued, TypeError);
    assertEquals(queued.unsent, encode("queued"));
    await conn.closed;
    assertInstanceOf(await errorOf(conn.read(new Uint8Array(1))), TypeError);
  });

  test(`write() rejects alone if its buffer is ${name} before any of it is sent`, async () => {
    await using dir = new TempDir();
    using pair = await withPeer(dir);
    const { conn, peer } = pair;
    const large = pseudoRandom(MIB, 1);
    const buffer = new ArrayBuffer(20, { maxByteLength: 20 });
    const writes = [
      conn.write(large),
      conn.write(new Uint8Array(buffer)),
      conn.write(encode("next")),
    ];
    lose(buffer);
    const received = readAll(peer);
    assertEquals(await writes[0], MIB);
    assertInstanceOf(await errorOf(writes[1]!), TypeError);
    assertEquals(await writes[2], 4);
    await conn.closeWrite();
    assertSameBytes(await received, concat([large, encode("next")]));
  });
}

test("write() refuses a buffer that is detached, and so does a chunk that waits in writable", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn } = pair;
  const data = new Uint8Array(5);
  data.buffer.transfer();
  const message = "Invalid data: its buffer is detached. Transfer a copy of it instead";
  await assertRejects(() => conn.write(data), TypeError, message);
  const writer = conn.writable.getWriter();
  const chunk = new Uint8Array(5);
  const writes = [writer.write(new Uint8Array(MIB)), writer.write(chunk)];
  for (const promise of [...writes, writer.closed]) promise.catch(() => {});
  chunk.buffer.transfer();
  await readAtLeast(pair.peer, MIB);
  await writes[0];
  await assertRejects(() => writes[1]!, TypeError, message);
});

async function readAtLeast(conn: Deno.UnixConn, count: number): Promise<void> {
  const buffer = new Uint8Array(64 * 1024);
  for (let sum = 0; sum < count;) sum += (await conn.read(buffer)) ?? count;
}
