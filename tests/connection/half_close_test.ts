import { ConnectionClosed } from "@uds/uds";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import {
  decode,
  encode,
  isPending,
  MIB,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
} from "../_helpers.ts";
import { assertSameBytes, bothEnds, concat, errorOf, withPeer } from "./_connection.ts";

test("closeWrite() leaves reading open for a reply after the end of file", async () => {
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

test("writable.close() leaves reading open for a reply after the end of file", async () => {
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

test("closeWrite() resolves when the peer has left", async () => {
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
