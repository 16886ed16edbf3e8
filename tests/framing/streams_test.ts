import {
  decodeStream,
  encodeStream,
  json,
  lengthPrefixed,
  lines,
  messages,
  MessageTooLarge,
  socketpair,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encode, readAll, test } from "../_helpers.ts";
import { concat, FRAMES, HELLO, hex, LIMIT, Pieces } from "./_framing.ts";

test("encodeStream() and decodeStream() carry messages over a connection", async () => {
  const [a, b] = await socketpair();
  const values = Array.from({ length: 20_000 }, (_, i) => ({ i, text: "ü".repeat(i % 50) }));
  const sending = ReadableStream.from(values).pipeThrough(encodeStream(json(lines())))
    .pipeTo(a.writable);
  const received = await Array.fromAsync(b.readable.pipeThrough(decodeStream(json(lines()))));
  await sending;
  assertEquals(received, values);
  a.close();
  b.close();
});

test("encodeStream() puts messages together while the reader is busy, and waits for it", async () => {
  const { readable, writable } = encodeStream(lengthPrefixed());
  const writer = writable.getWriter();
  const reader = readable.getReader();
  let written = 0;
  const writing = (async () => {
    for (let i = 0; i < 1000; i++) {
      await writer.write(new Uint8Array(996));
      written++;
    }
    await writer.close();
  })();
  for (let last = -1; last !== written;) {
    last = written;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert(written < 100, `${written} are written without a reader`);
  const chunks: Uint8Array[] = [];
  for (;;) {
    const { value, done } = await reader.read();
    if (done) break;
    chunks.push(value);
  }
  await writing;
  assertEquals(chunks.reduce((sum, chunk) => sum + chunk.length, 0), 1_000_000);
  assert(chunks.length < 100, `${chunks.length} chunks`);
});

test("encodeStream() fails on both sides with what the codec throws", async () => {
  const { readable, writable } = encodeStream(lines());
  const writer = writable.getWriter();
  const reading = readable.getReader().read();
  reading.catch(() => {});
  writer.closed.catch(() => {});
  await assertRejects(() => writer.write("a\nb"), RangeError);
  await assertRejects(() => reading, RangeError);
});

test("encodeStream() passes on an abort and a cancellation", async () => {
  const reason = new Error("enough");
  const one = encodeStream(lines());
  const reading = one.readable.getReader().read();
  await one.writable.abort(reason);
  assertEquals(await reading.catch((e) => e), reason);
  const two = encodeStream(lines());
  const writer = two.writable.getWriter();
  writer.closed.catch(() => {});
  await two.readable.cancel(reason);
  assertEquals(await writer.write("x").catch((e) => e), reason);
});

test("decodeStream() fails with the error of its input, and at an end within a message", async () => {
  const stream = (...pieces: string[]) =>
    ReadableStream.from(pieces.map(encode)).pipeThrough(decodeStream(json(lines())));
  assertEquals(await Array.fromAsync(stream("1\n", "2\n")), [1, 2]);
  await assertRejects(() => Array.fromAsync(stream("1\n", "x\n")), Deno.errors.InvalidData);
  await assertRejects(() => Array.fromAsync(stream("1\n", "2")), TruncatedMessage);
  await assertRejects(
    () =>
      Array.fromAsync(
        ReadableStream.from([encode("123456\n")]).pipeThrough(decodeStream(lines(LIMIT))),
      ),
    MessageTooLarge,
  );
});

test("decodeStream() refuses a chunk that is not a Uint8Array", async () => {
  for (const chunk of ["abc", new ArrayBuffer(2), new Uint16Array([1, 256]), null]) {
    const chunks = ReadableStream.from([chunk as never, encode("a\n")]);
    await assertRejects(
      () => Array.fromAsync(chunks.pipeThrough(decodeStream(lines()))),
      TypeError,
      "Invalid chunk: expected a Uint8Array, got ",
    );
  }
});

test("decodeStream() takes no further chunk before the messages of the last one are read", async () => {
  let pulled = 0;
  const source = new ReadableStream<Uint8Array>({
    pull(controller) {
      pulled++;
      controller.enqueue(encode("a\nb\n"));
    },
  }, { highWaterMark: 0 });
  const reader = source.pipeThrough(decodeStream(lines())).getReader();
  assertEquals((await reader.read()).value, "a");
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert(pulled <= 2, `${pulled} chunks for one message`);
  await reader.cancel();
});

test("decodeStream() finds the messages wherever the chunks are cut", async () => {
  for (const [, codec, values, bytes] of FRAMES) {
    for (let i = 0; i <= bytes.length; i++) {
      const pieces = [bytes.slice(0, i), bytes.slice(i)];
      const stream = ReadableStream.from(pieces).pipeThrough(decodeStream(codec));
      assertEquals(await Array.fromAsync(stream), values);
    }
  }
});

test("readAll() of a channel's connection sees the frames as they are", async () => {
  const [a, b] = await socketpair();
  await using peer = b;
  await using channel = messages(a, lengthPrefixed({ prefix: 2 }));
  await channel.send(HELLO);
  await channel.closeWrite();
  assertEquals(hex(await readAll(peer)), "00 05 68 65 6c 6c 6f");
});

for (
  const [name, piece, channel] of [
    ["empty lines", new Uint8Array(1024 * 1024).fill(10), (c: Pieces) => messages(c, lines())],
    ["empty frames", new Uint8Array(1024 * 1024), (c: Pieces) => messages(c, lengthPrefixed())],
    [
      "empty lines after a large one",
      concat(...Array.from(
        { length: 8 },
        () => concat(new Uint8Array(128 * 1024).fill(65), new Uint8Array(128 * 1024).fill(10)),
      )),
      (c: Pieces) => messages(c, lines()),
    ],
  ] as const
) {
  test(`messages() shares the event loop while a peer floods ${name}`, async () => {
    let turns = 0;
    let ticking = true;
    const tick = () => {
      turns++;
      if (ticking) setImmediate(tick);
    };
    setImmediate(tick);
    let turn = 0;
    let count = 0;
    let most = 0;
    for await (const _ of channel(new Pieces(piece))) {
      if (turns !== turn) [turn, count] = [turns, 0];
      most = Math.max(most, ++count);
    }
    ticking = false;
    // 64 Ki messages take a quarter of a millisecond.
    assert(most <= 64 * 1024, `${most} messages in one turn of the event loop`);
    assert(turns > 20, `${turns} turns`);
  });
}
