import {
  type Codec,
  ConnectionClosed,
  contentLength,
  delimited,
  json,
  lengthPrefixed,
  lines,
  type Messages,
  messages,
  socketpair,
  text,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { decode, encode, pseudoRandom, test, testAlone } from "../_helpers.ts";
import { channels, concat, decoded, equalBytes, Pieces, unhex } from "./_framing.ts";

test("receive() resolves to undefined at the end, again and again, and null where it was sent", async () => {
  const { ours, theirs } = await channels(json(lines()));
  ours.send(null);
  await ours.closeWrite();
  assertEquals(await theirs.receive(), null);
  assertEquals(await theirs.receive(), undefined);
  assertEquals(await theirs.receive(), undefined);
  assertEquals(await Array.fromAsync(theirs), []);
  assertEquals(await Array.fromAsync(theirs.batches()), []);
  // The other direction is open.
  theirs.send(1);
  assertEquals(await ours.receive(), 1);
  await ours[Symbol.asyncDispose]();
  await theirs[Symbol.asyncDispose]();
});

test("closeWrite() sends the end after everything else, once, and refuses what comes after it", async () => {
  const { ours, theirs } = await channels(lines());
  ours.send("last");
  const first = ours.closeWrite();
  assertEquals(ours.closeWrite(), first);
  await assertRejects(() => ours.send("more"), ConnectionClosed, "closeWrite() was called");
  await first;
  await ours.flush();
  assertEquals(await Array.fromAsync(theirs), ["last"]);
  theirs.send("answer");
  await theirs.closeWrite();
  assertEquals(await ours.receive(), "answer");
  assertEquals(await ours.receive(), undefined);
  ours.close();
  theirs.close();
});

test("messages() without closeWrite and close does everything but tell the peer", async () => {
  const conn = new Pieces(encode("a\n"));
  const channel = messages(
    { read: (b) => conn.read(b), write: (d) => conn.write(d) },
    lines(),
  );
  channel.send("x");
  await channel.closeWrite();
  assertEquals(decode(conn.bytes), "x\n");
  assertEquals(await channel.receive(), "a");
  channel.close();
  await assertRejects(() => channel.receive(), ConnectionClosed);
});

test("receive() serves calls in their order", async () => {
  const { ours, theirs } = await channels(lines());
  const all = [theirs.receive(), theirs.receive(), theirs.receive()];
  for (const word of ["a", "b", "c"]) {
    await ours.send(word);
    await ours.flush();
  }
  assertEquals(await Promise.all(all), ["a", "b", "c"]);
  const mixed = [
    theirs.receive(),
    theirs[Symbol.asyncIterator]().next(),
    theirs.batches()[Symbol.asyncIterator]().next(),
    theirs.receive(),
  ] as const;
  for (const word of ["d", "e", "f", "g"]) ours.send(word);
  await ours.closeWrite();
  assertEquals(await Promise.all(mixed), [
    "d",
    { value: "e", done: false },
    { value: ["f", "g"], done: false },
    undefined,
  ]);
  ours.close();
  theirs.close();
});

test("breaking out of a loop leaves the other messages to the next call", async () => {
  const { ours, theirs } = await channels(lines());
  for (let i = 1; i <= 9; i++) ours.send(`${i}`);
  await ours.closeWrite();
  const seen: string[] = [];
  for await (const line of theirs) {
    seen.push(line);
    if (line === "2") break;
  }
  seen.push((await theirs.receive())!);
  for await (const line of theirs) {
    seen.push(line);
    if (line === "5") break;
  }
  for await (const batch of theirs.batches()) seen.push(...batch);
  assertEquals(seen.join(""), "123456789");
  theirs.send("still open");
  assertEquals(await ours.receive(), "still open");
  ours.close();
  theirs.close();
});

test("receive({ signal }) can be canceled and loses nothing", async () => {
  const { ours, theirs } = await channels(lines());
  const reason = new Error("enough");
  const controller = new AbortController();
  const first = theirs.receive({ signal: controller.signal });
  const second = theirs.receive();
  controller.abort(reason);
  assertEquals(await first.catch((e) => e), reason);
  await assertRejects(() => theirs.receive({ signal: controller.signal }), Error, "enough");
  ours.send("a");
  ours.send("b");
  assertEquals(await second, "a");
  assertEquals(await theirs.receive({ signal: new AbortController().signal }), "b");
  // No call is pending when the next message comes.
  const third = new AbortController();
  const waiting = theirs.receive({ signal: third.signal });
  third.abort(reason);
  await waiting.catch(() => {});
  ours.send("c");
  await ours.closeWrite();
  assertEquals(await Array.fromAsync(theirs), ["c"]);
  ours.close();
  theirs.close();
});

test("receive() rejects wrong options", async () => {
  const channel = messages(new Pieces(), lines());
  await assertRejects(() => channel.receive({ timeout: 1 } as never), TypeError, "timeout");
  await assertRejects(() => channel.receive({ signal: 1 as never }), TypeError, "AbortSignal");
});

test("a failure of receiving follows the messages before it, and stays, while sending goes on", async () => {
  const { a, ours, theirs } = await channels(json(lines()));
  await a.write(encode("1\n2\nx\n3\n"));
  assertEquals([await theirs.receive(), await theirs.receive()], [1, 2]);
  const error = await theirs.receive().catch((e) => e);
  assertInstanceOf(error, Deno.errors.InvalidData);
  assertEquals(await theirs.receive().catch((e) => e), error);
  await assertRejects(() => Array.fromAsync(theirs), Deno.errors.InvalidData);
  await assertRejects(() => Array.fromAsync(theirs.batches()), Deno.errors.InvalidData);
  await theirs.send({ error: "no JSON" });
  assertEquals(await ours.receive(), { error: "no JSON" });
  await theirs[Symbol.asyncDispose]();
  ours.close();
});

test("receive() within decode() waits for its turn, and no message is lost", async () => {
  let inner: Promise<number | undefined> | undefined;
  const codec = json(lines(), (value) => {
    if (value === 2) inner = channel.receive();
    return value as number;
  });
  const channel: Messages<number> = messages(new Pieces(encode("1\n2\n3\n4\n")), codec);
  assertEquals(await channel.receive(), 1);
  assertEquals(await inner, 2);
  assertEquals(await Array.fromAsync(channel), [3, 4]);
});

test("close() within decode() drops what was decoded", async () => {
  const codec = json(lines(), (value) => {
    if (value === 2) channel.close();
    return value as number;
  });
  const channel: Messages<number> = messages(new Pieces(encode("1\n2\n3\n")), codec);
  await assertRejects(() => channel.receive(), ConnectionClosed);
  await assertRejects(() => channel.receive(), ConnectionClosed);
});

test("iteration ends when close() is called on this side", async () => {
  const { ours, theirs } = await channels(lines());
  ours.send("a");
  for await (const line of theirs) {
    assertEquals(line, "a");
    theirs.close();
  }
  const waiting = Array.fromAsync(ours.batches());
  ours.close();
  assertEquals(await waiting, []);
});

test("a message of bytes is a view, and a copy of it does not keep the rest of its buffer", async () => {
  const bytes = concat(...Array(1000).fill(unhex("00000005 68656c6c6f")));
  const { values } = await decoded(lengthPrefixed(), bytes);
  assertEquals(values.length, 1000);
  // The messages share a few buffers.
  assert(new Set(values.map((value) => value.buffer)).size < 10);
  assert(values.every((value) => decode(value) === "hello"));
  assertEquals(values[0]!.slice().buffer.byteLength, 5);
});

test("messages that are kept do not change while others come", async () => {
  const { ours, theirs } = await channels(lengthPrefixed());
  const count = 3000;
  const sending = (async () => {
    for (let i = 0; i < count; i++) await ours.send(pseudoRandom(i % 700, i + 1));
    await ours.closeWrite();
  })();
  const kept = await Array.fromAsync(theirs);
  await sending;
  assertEquals(kept.length, count);
  for (const [i, message] of kept.entries()) {
    assert(equalBytes(message, pseudoRandom(i % 700, i + 1)), `message ${i}`);
  }
  ours.close();
  theirs.close();
});

test("messages({ reuse: true }) keeps each message until the next one, from the same memory", async () => {
  const [a, b] = await socketpair();
  await using ours = messages(a, lengthPrefixed());
  await using theirs = messages(b, lengthPrefixed(), { reuse: true });
  const sizes = [5, 300_000, 0, 70_000, 1_100_000, 1_100_000, 3, 400_000, 1_100_000];
  const sending = (async () => {
    for (const [i, size] of sizes.entries()) await ours.send(pseudoRandom(size, i + 1));
    await ours.closeWrite();
  })();
  const buffers = new Set<ArrayBufferLike>();
  let i = 0;
  for await (const message of theirs) {
    assert(equalBytes(message, pseudoRandom(sizes[i]!, i + 1)), `message ${i}`);
    if (++i > 5) buffers.add(message.buffer);
  }
  await sending;
  assertEquals([i, buffers.size], [sizes.length, 1]);
});

test("messages of every size around the limits of the buffers arrive whole", async () => {
  const { ours, theirs } = await channels(lengthPrefixed());
  const around = [16, 64, 256, 1024].flatMap((kib) =>
    [-5, -4, -1, 0, 1, 4].map((d) => kib * 1024 + d)
  );
  const sizes = [...around, 5_000_000, 1, ...around.toReversed(), 0];
  const data = pseudoRandom(5_000_000, 7);
  const sending = (async () => {
    for (const size of sizes) await ours.send(data.subarray(0, size));
    await ours.closeWrite();
  })();
  for (const size of sizes) {
    const message = await theirs.receive();
    assert(equalBytes(message!, data.subarray(0, size)), `${size}`);
  }
  assertEquals(await theirs.receive(), undefined);
  await sending;
  ours.close();
  theirs.close();
});

test("texts of every length around the limits of the buffers arrive whole", async () => {
  for (const codec of [lines(), text(lengthPrefixed()), json<string>(lines())]) {
    const { ours, theirs } = await channels(codec);
    const sizes = [0, 1, 5461, 5462, 21844, 21845, 21846, 65535, 65536, 300_000, 2_000_000, 3];
    const sending = (async () => {
      for (const size of sizes) await ours.send("ü".repeat(size));
      await ours.closeWrite();
    })();
    for (const size of sizes) assert(await theirs.receive() === "ü".repeat(size), `${size}`);
    assertEquals(await theirs.receive(), undefined);
    await sending;
    ours.close();
    theirs.close();
  }
});

testAlone(
  "the time for a large message does not grow with the pieces that it comes in",
  async () => {
    // 16 MiB in 64 pieces, and in 16,384.
    for (
      const codec of [lines(), delimited(10), lengthPrefixed(), contentLength()] as Codec<unknown>[]
    ) {
      const body = new Uint8Array(16 * 1024 * 1024 - 100).fill(97);
      const conn = new Pieces();
      const value = "text" in codec ? decode(body) : body;
      const channel = messages(conn, codec);
      await channel.send(value);
      await channel.flush();
      const bytes = conn.bytes;
      const measure = async (size: number) => {
        const pieces: Uint8Array[] = [];
        for (let at = 0; at < bytes.length; at += size) pieces.push(bytes.subarray(at, at + size));
        let i = 0;
        const start = performance.now();
        const message = await messages({
          read(buffer) {
            const piece = pieces[i];
            if (piece === undefined) return Promise.resolve(null);
            const count = Math.min(buffer.length, piece.length);
            buffer.set(piece.subarray(0, count));
            if (count === piece.length) i++;
            else pieces[i] = piece.subarray(count);
            return Promise.resolve(count);
          },
          write: (data) => Promise.resolve(data.length),
        }, codec).receive() as string | Uint8Array;
        assertEquals(message.length, body.length);
        return performance.now() - start;
      };
      await measure(256 * 1024);
      const few = await measure(256 * 1024);
      const many = await measure(1024);
      // Quadratic work would take 16,384 times 16 MiB: minutes.
      assert(many < 40 * few + 1000, `${many} ms against ${few} ms`);
    }
  },
  { deadline: 30_000 },
);
