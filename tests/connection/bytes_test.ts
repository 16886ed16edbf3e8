import { connect, encodeMessage, lines } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  decode,
  encode,
  fixture,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
} from "../_helpers.ts";
import { assertSameBytes, bothEnds, flags, withPeer } from "./_connection.ts";

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
    // Every record begins with the number of its writer, its own number and its length.
    const calls: Uint8Array[] = [];
    let sent = 0;
    const writer = async (id: number) => {
      const start = id * share;
      let seq = 0;
      let recent: Promise<number>[] = [];
      for (let done = 0; done < share;) {
        // From 1 byte to 1 MiB, all orders of magnitude equally often.
        const wanted = Math.floor(2 ** (sizes[(id * 509 + seq) % sizes.length]! / 255 * 20));
        const length = Math.min(wanted, share - done);
        const record = new Uint8Array(HEADER + length);
        new Uint32Array(record.buffer, 0, 3).set([id, seq++, length]);
        record.set(random.subarray(start + done, start + done + length), HEADER);
        done += length;
        calls.push(record);
        sent += record.length;
        recent.push(conn.write(record));
        // Some writes are awaited, others come in a burst.
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

test("read() with an empty buffer resolves to 0 at once, though nothing has come", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  assertEquals(await pair.conn.read(new Uint8Array(0)), 0);
});

test("read() resolves to null at each call after the end of file", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await peer.closeWrite();
  for (const length of [8, 8, 0]) assertEquals(await conn.read(new Uint8Array(length)), null);
  // The same after the descriptor has closed by itself.
  await conn.closeWrite();
  await conn.closed;
  assertEquals(await conn.read(new Uint8Array(8)), null);
});

test("read() resolves to null for all pending calls when the end of file closes the descriptor", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn, peer } = pair;
  await conn.closeWrite();
  const reads = [1, 2, 3].map(() => conn.read(new Uint8Array(8)));
  await peer.closeWrite();
  assertEquals(await Promise.all(reads), [null, null, null]);
  await conn.closed;
});

test("read() and write() refuse a value that is not a Uint8Array", async () => {
  await using dir = new TempDir();
  using pair = await withPeer(dir);
  const { conn } = pair;
  await assertRejects(() => conn.read([] as never), TypeError, "expected a Uint8Array");
  await assertRejects(() => conn.write("text" as never), TypeError, "Use writeText()");
  await assertRejects(() => conn.writeText(encode("text") as never), TypeError, "Use write()");
  const encoded = encodeMessage(lines(), "x");
  await assertRejects(() => conn.write(encoded as never), TypeError, "Use sendEncoded() of its");
  await assertRejects(() => conn.write(new ArrayBuffer(1) as never), TypeError, "ArrayBuffer");
  // The refusals had no effect: the connection works.
  assertEquals(await conn.writeText("é\n"), 3);
  assertEquals(await readText(pair.peer), "é\n");
});
