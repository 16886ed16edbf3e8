import { connect, ConnectionClosed, listen } from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import {
  decode,
  encode,
  MIB,
  openDescriptors,
  pseudoRandom,
  readAll,
  readText,
  TempDir,
  test,
} from "../_helpers.ts";
import { bothEnds } from "./_connection.ts";

/**
 * Two connections to pipe, `from` one `to` the other. `outer` are their peers.
 */
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
  // The other direction is open.
  await sink.write(encode("back"));
  assertEquals(await readText(to), "back");
  await assertRejects(() => to.write(encode("x")), ConnectionClosed, "closeWrite() was called");
});

test("readable.pipeTo(writable) cancels the source when the target fails", async () => {
  await using dir = new TempDir();
  using both = await twoConnections(dir);
  const { from, to, outer: [source, sink] } = both;
  const piped = from.readable.pipeTo(to.writable);
  sink.close();
  await source.write(encode("unread"));
  await assertRejects(() => piped, Deno.errors.BrokenPipe, "Cannot write to");
  // Its reading side has ended. It closes with its writing side.
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

test("readable.pipeTo(writable) does not change chunks that other code keeps", async () => {
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
    // Both close without a call of close().
    await Promise.all([server.closed, client.closed]);
  };
  await echo("warm up");
  const before = openDescriptors();
  for (let round = 0; round < 10; round++) {
    await Promise.all(Array.from({ length: 20 }, (_, i) => echo(`hello ${round} ${i}`)));
  }
  assertEquals(openDescriptors(), before);
});
