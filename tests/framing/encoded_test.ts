import {
  type Codec,
  connect,
  encodeMessage,
  json,
  lengthPrefixed,
  lines,
  type Messages,
  messages,
  MessageTooLarge,
  serve,
  socketpair,
} from "@uds/uds";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { pseudoRandom, TempDir, test, untilFull } from "../_helpers.ts";

/** Returns a codec of lines that counts its calls. */
function countingLines(): Codec<string> & { calls: number } {
  const inner = lines();
  const codec = {
    ...inner,
    calls: 0,
    encode(message: string, out: Parameters<typeof inner.encode>[1]) {
      codec.calls++;
      inner.encode(message, out);
    },
  };
  return codec;
}

test("sendEncoded() sends to 100 clients what was encoded once, beside one that never reads", async () => {
  await using dir = new TempDir();
  const path = dir.file("room.sock");
  const codec = countingLines();
  const room = new Set<Messages<string>>();
  const full = Promise.withResolvers<void>();
  await using _server = await serve(path, async (conn) => {
    const channel = messages(conn, codec);
    room.add(channel);
    if (room.size === 101) full.resolve();
    await conn.closed;
  });
  const clients = await Promise.all(Array.from({ length: 100 }, () => connect(path)));
  using deaf = await connect(path);
  await full.promise;
  const text = "x".repeat(10_000);
  const received = clients.map(async (client) => {
    const channel = messages(client, lines());
    for (let i = 0; i < 100; i++) assertEquals(await channel.receive(), `${i} ${text}`);
    channel.close();
  });
  for (let i = 0; i < 100; i++) {
    const message = encodeMessage(codec, `${i} ${text}`);
    for (const channel of room) channel.sendEncoded(message);
    await new Promise(setImmediate);
  }
  await Promise.all(received);
  assertEquals(codec.calls, 100);
  const behind = [...room].filter((channel) => channel.pending > 0);
  assertEquals(behind.length, 1);
  behind[0]!.close();
  void deaf;
});

test("pending counts the bytes that wait to be written", async () => {
  const [a, b] = await socketpair();
  await using channel = messages(a, lengthPrefixed());
  assertEquals(channel.pending, 0);
  channel.send(new Uint8Array(10));
  assertEquals(channel.pending, 14);
  await channel.flush();
  assertEquals(channel.pending, 0);
  channel.send(new Uint8Array(3_000_000));
  await untilFull(a);
  assert(a.bytesWritten > 14 && a.bytesWritten < 3_000_018, `${a.bytesWritten}`);
  assert(channel.pending >= 3_000_018 - a.bytesWritten, `${channel.pending}`);
  await using reader = messages(b, lengthPrefixed());
  await reader.receive();
  await reader.receive();
  await channel.flush();
  assertEquals(channel.pending, 0);
});

test("sendEncoded() takes a large message at once, which its maker may change", async () => {
  const codec = lengthPrefixed();
  const data = pseudoRandom(300_000, 1);
  const expected = data.slice();
  const message = encodeMessage(codec, data);
  assertEquals(message.byteLength, 300_004);
  data.fill(0);
  const [a, b] = await socketpair();
  await using channel = messages(a, codec, { maxPending: 10_000_000 });
  for (let i = 0; i < 3; i++) await channel.sendEncoded(message);
  await using reader = messages(b, codec);
  for (let i = 0; i < 3; i++) assertEquals(await reader.receive(), expected);
});

test("sendEncoded() and send() keep their order", async () => {
  const codec = lines();
  const [a, b] = await socketpair();
  const channel = messages(a, codec);
  channel.send("1");
  channel.sendEncoded(encodeMessage(codec, "2"));
  channel.send("3");
  await channel.closeWrite();
  await using reader = messages(b, codec);
  assertEquals(await Array.fromAsync(reader), ["1", "2", "3"]);
  channel.close();
});

test("sendEncoded() refuses what is not encoded, or by another codec", async () => {
  const [a, b] = await socketpair();
  await using channel = messages(a, lines());
  const other = encodeMessage(lines(), "x");
  await assertRejects(() => channel.sendEncoded(other), TypeError, "encoded by another codec");
  for (const value of ["x", null, { byteLength: 2, codec: lines() }]) {
    await assertRejects(
      () => channel.sendEncoded(value as never),
      TypeError,
      "Invalid message: it is not encoded, got",
    );
  }
  assertEquals(channel.pending, 0);
  b.close();
});

test("encodeMessage() throws what the codec throws", () => {
  assertThrows(() => encodeMessage(lines(), "a\nb"), RangeError);
  assertThrows(
    () => encodeMessage(lengthPrefixed({ maxBytes: 1 }), new Uint8Array(2)),
    MessageTooLarge,
  );
  assertThrows(() => encodeMessage(json(lines()), 1n), TypeError);
  assertThrows(() => encodeMessage({} as never, 1), TypeError, "Invalid codec");
});
