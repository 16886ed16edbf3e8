import {
  type Codec,
  contentLength,
  decodeStream,
  delimited,
  lengthPrefixed,
  messages,
  socketpair,
} from "@uds/uds";
import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { pseudoRandom, test } from "../_helpers.ts";
import { channels, equalBytes } from "./_framing.ts";

/** Sizes below, at and above those from which on messages have memory of their own. */
const SIZES = [9, 100, 17_000, 65_536, 3, 40_000, 70_000, 300_000, 0, 20_000, 65_536, 65_536, 900];

/** Sends random messages without a zero, several times over, and receives them all. */
async function receiveAll(codec: Codec<Uint8Array>): Promise<[Uint8Array, Uint8Array][]> {
  const { ours, theirs } = await channels(codec);
  const sent = Array.from(
    { length: 5 * SIZES.length },
    (_, i) => pseudoRandom(SIZES[i % SIZES.length]!, i + 1).map((byte) => byte || 1),
  );
  const sending = (async () => {
    for (const message of sent) await ours.send(message);
    await ours.closeWrite();
  })();
  const received = await Array.fromAsync(theirs);
  await sending;
  ours.close();
  theirs.close();
  assertEquals(received.length, sent.length);
  return sent.map((message, i) => [message, received[i]!]);
}

for (
  const [name, codec] of Object.entries({
    "lengthPrefixed()": lengthPrefixed(),
    "delimited(0)": delimited(0),
    "contentLength()": contentLength(),
    "a codec of one's own": { ...lengthPrefixed() },
  })
) {
  test(`messages of ${name} do not change when later ones come, whatever their sizes`, async () => {
    for (const [i, [sent, received]] of (await receiveAll(codec)).entries()) {
      assert(equalBytes(received, sent), `message ${i}`);
    }
  });
}

test("a codec of one's own may have views in its messages, beside a message of bytes", async () => {
  const { decodeAll: _, ...frames } = lengthPrefixed();
  const rests = new Map<Uint8Array, Uint8Array>();
  const own: Codec<Uint8Array> = {
    ...frames,
    decode(bytes, scanned) {
      const found = frames.decode(bytes, scanned);
      if (typeof found === "object") rests.set(found.message, found.message.subarray(1));
      return found;
    },
  };
  for (const [i, [sent, received]] of (await receiveAll(own)).entries()) {
    assert(equalBytes(rests.get(received)!, sent.subarray(1)), `message ${i}`);
  }
});

test("a message of 64 KiB keeps no other memory than its own", async () => {
  const [a, b] = await socketpair();
  await using ours = messages(a, lengthPrefixed());
  await using theirs = messages(b, lengthPrefixed());
  for (let i = 0; i < 20; i++) {
    const sending = ours.send(pseudoRandom(65_536, i + 1));
    const message = (await theirs.receive())!;
    await sending;
    assertEquals(message.buffer.byteLength, 65_536);
  }
});

test("decodeStream() does not change the chunks that it gets", async () => {
  const message = pseudoRandom(40_000, 1);
  const frame = new Uint8Array([0, 0, 40_000 >> 8, 40_000 & 0xff, ...message]);
  const bytes = new Uint8Array([...frame, ...frame, ...frame, ...frame, ...frame]);
  const chunks = [0, 90_000, 150_000].map((at, i, all) => bytes.slice(at, all[i + 1]));
  const before = chunks.map((chunk) => chunk.slice());
  const stream = ReadableStream.from(chunks).pipeThrough(decodeStream(lengthPrefixed()));
  const received = await Array.fromAsync(stream);
  assertEquals(received.map((each) => equalBytes(each, message)), Array(5).fill(true));
  assertEquals(chunks.map((chunk, i) => equalBytes(chunk, before[i]!)), [true, true, true]);
});

/** Takes the memory of a message, as `postMessage(message, [message.buffer])` does. */
function transfer(message: Uint8Array): void {
  (message.buffer as ArrayBuffer).transfer();
}

const DETACHED = "Cannot decode a message from the peer: its memory was detached with that of an " +
  "earlier one. Transfer a copy of a message instead";

test("a received message can be transferred if nothing follows it, and receiving goes on", async () => {
  const { ours, theirs } = await channels(lengthPrefixed());
  for (let i = 0; i < 5; i++) {
    await ours.send(new Uint8Array([i, 1]));
    const message = await theirs.receive();
    assertEquals(message, new Uint8Array([i, 1]));
    transfer(message!);
  }
  await ours.closeWrite();
  assertEquals(await theirs.receive(), undefined);
  ours.close();
  theirs.close();
});

for (const follows of ["a whole message", "a part of a message"]) {
  test(`a message that is transferred with ${follows} behind it ends receiving, and says why`, async () => {
    const [peer, conn] = await socketpair();
    using channel = messages(conn, lengthPrefixed());
    const length = follows === "a whole message" ? 1 : 9;
    await peer.write(new Uint8Array([0, 0, 0, 1, 7, 0, 0, 0, length, 8]));
    peer.close();
    const message = await channel.receive();
    transfer(message!);
    await assertRejects(() => channel.receive(), TypeError, DETACHED);
    await assertRejects(() => Array.fromAsync(channel), TypeError, DETACHED);
  });

  test(`detach() after a transfer with ${follows} behind it throws, because its bytes are lost`, async () => {
    const [peer, conn] = await socketpair();
    using _peer = peer;
    using channel = messages(conn, lengthPrefixed());
    const length = follows === "a whole message" ? 1 : 9;
    await peer.write(new Uint8Array([0, 0, 0, 1, 7, 0, 0, 0, length, 8]));
    const message = await channel.receive();
    transfer(message!);
    assertThrows(() => channel.detach(), TypeError, DETACHED);
    await channel.send(new Uint8Array([9]));
    const sent = new Uint8Array(9);
    assertEquals(sent.subarray(0, (await peer.read(sent))!), new Uint8Array([0, 0, 0, 1, 9]));
  });
}

test("a message that is transferred while the next one is awaited ends receiving, and says why", async () => {
  const { ours, theirs } = await channels(lengthPrefixed());
  await ours.send(new Uint8Array([1]));
  const message = await theirs.receive();
  const next = theirs.receive();
  transfer(message!);
  await ours.send(new Uint8Array([2]));
  await assertRejects(() => next, TypeError, DETACHED);
  ours.close();
  theirs.close();
});

for (const order of ["before", "after"] as const) {
  test(`a read that was pending at detach() rejects if its memory was transferred ${order} that`, async () => {
    const [peer, conn] = await socketpair();
    using _peer = peer;
    const channel = messages(conn, lengthPrefixed());
    await peer.write(new Uint8Array([0, 0, 0, 1, 7]));
    const message = await channel.receive();
    const next = channel.receive().catch(() => {});
    if (order === "before") transfer(message!);
    using detached = channel.detach();
    if (order === "after") transfer(message!);
    await next;
    const reading = detached.read(new Uint8Array(9));
    await peer.write(new Uint8Array([8]));
    await assertRejects(() => reading, TypeError, DETACHED);
  });
}

test("what was read ahead survives a transfer after detach()", async () => {
  const [peer, conn] = await socketpair();
  using _peer = peer;
  const channel = messages(conn, lengthPrefixed());
  await peer.write(new Uint8Array([0, 0, 0, 1, 7, 0, 0, 0, 1, 8]));
  const message = await channel.receive();
  using detached = channel.detach();
  transfer(message!);
  const ahead = new Uint8Array(9);
  assertEquals(ahead.subarray(0, (await detached.read(ahead))!), new Uint8Array([0, 0, 0, 1, 8]));
});
