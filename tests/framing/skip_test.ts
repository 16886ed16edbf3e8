import {
  type Connection,
  decodeStream,
  json,
  lines,
  type LinesOptions,
  messages,
  type MessageTooLarge,
  socketpair,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { encode, isPending, test, turn } from "../_helpers.ts";
import { decoded, Pieces, slow, unhex } from "./_framing.ts";

/** Returns options that skip lines of more than 4 bytes, and the errors that they report. */
function skipping(options: LinesOptions = {}): { options: LinesOptions; skipped: string[] } {
  const skipped: string[] = [];
  const onSkip = ({ message, size, limit }: MessageTooLarge) => {
    assertEquals(
      message,
      `Cannot decode a message: it has ${size} bytes, and the limit is ${limit}. Raise maxBytes of the codec`,
    );
    skipped.push(`${size}/${limit}`);
  };
  return { options: { maxBytes: 4, tooLong: "skip", onSkip, ...options }, skipped };
}

const CASES: [what: string, bytes: string, values: string[], skipped: string[]][] = [
  ["between others", "one\nlonger\ntwo\n", ["one", "two"], ["6/4"]],
  ["at the beginning", "longer\r\nlonger!\n\nabcd\r\n", ["", "abcd"], ["7/4", "7/4"]],
  ["of other characters", "ü\nüüü\nüü\n", ["ü", "üü"], ["6/4"]],
  ["that is not UTF-8", "a\n\xff\xff\xff\xff\xff\nb\n", ["a", "b"], ["10/4"]],
  ["without an end", "one\nlonger", ["one"], ["6/4"]],
];

for (const [what, bytes, values, expected] of CASES) {
  test(`lines({ tooLong: "skip" }) skips a line ${what}, wherever the bytes are split`, async () => {
    const all = encode(bytes);
    for (let i = 0; i <= all.length; i++) {
      const { options, skipped } = skipping();
      const ways = [lines(options), slow(lines(options))];
      for (const codec of ways) {
        const result = await decoded(codec, all.subarray(0, i), all.subarray(i));
        assertEquals(result, { values });
      }
      assertEquals(skipped, [...expected, ...expected]);
    }
    const { options, skipped } = skipping();
    await decoded(lines(options), ...[...all].map((byte) => new Uint8Array([byte])));
    assertEquals(skipped, expected);
  });
}

test('lines({ tooLong: "skip" }) still refuses what is not UTF-8, and what is cut short', async () => {
  const { options } = skipping();
  const { values, error } = await decoded(lines(options), encode("longer\n"), unhex("ff 0a"));
  assertEquals([values, error instanceof Deno.errors.InvalidData], [[], true]);
  const cut = await decoded(lines(options), encode("longer\nabc"));
  assertEquals(cut.error?.name, "TruncatedMessage");
});

test('lines({ tooLong: "skip" }) skips a last line with a carriage return too many', async () => {
  const { options, skipped } = skipping({ allowUnterminated: true });
  assertEquals(await decoded(lines(options), encode("a\nabcd\r")), { values: ["a"] });
  assertEquals(skipped, ["5/4"]);
});

test('lines({ tooLong: "skip" }) needs no onSkip, and works below json() and in a stream', async () => {
  const codec = json(lines({ maxBytes: 4, tooLong: "skip" }));
  assertEquals(await decoded(codec, encode('1\n"longer"\n2\n')), { values: [1, 2] });
  const bytes = ReadableStream.from([encode('1\n"lon'), encode("ger"), encode('"\n2\n"long"')]);
  assertEquals(await Array.fromAsync(bytes.pipeThrough(decodeStream(codec))), [1, 2]);
});

test('lines({ tooLong: "skip" }) needs bounded memory for a line without bounds', async () => {
  const chunk = new Uint8Array(64 * 1024).fill(97);
  const count = 4096;
  let read = 0;
  let most = 0;
  const sizes: number[] = [];
  const codec = lines({ maxBytes: 1000, tooLong: "skip", onSkip: ({ size }) => sizes.push(size) });
  const channel = messages({
    read(buffer) {
      if (read === count) buffer[0] = 10;
      if (read > count) return Promise.resolve(null);
      const part = chunk.subarray(0, read++ === count ? 1 : buffer.length);
      if (read <= count) buffer.set(part);
      if (read % 256 === 0) most = Math.max(most, Deno.memoryUsage().external);
      sizes[0] = (sizes[0] ?? 0) + (read <= count ? part.length : 0);
      return Promise.resolve(part.length);
    },
    write: (data) => Promise.resolve(data.length),
  }, codec);
  const before = Deno.memoryUsage().external;
  assertEquals(await channel.receive(), undefined);
  assertEquals(sizes[1], sizes[0]);
  assert(sizes[0]! > 60 * 1024 * 1024);
  assert(most - before < 24 * 1024 * 1024, `${most - before} bytes`);
});

test('lines({ tooLong: "skip" }) and frameTimeout: the time of a skipped line counts', async () => {
  const [a, b] = await socketpair();
  using _sender = a;
  const { options } = skipping();
  await using receiver = messages(b, lines(options), { frameTimeout: 100 });
  const receiving = receiver.receive();
  receiving.catch(() => {});
  await a.write(encode("longer"));
  assert(await isPending(receiving));
  await a.write(encode("and longer"));
  await assertRejects(() => receiving, Deno.errors.TimedOut, "not complete within 100 ms");
});

test('lines({ tooLong: "skip" }) and detach(): the connection returns what follows the received line', async () => {
  const { options, skipped } = skipping();
  const channel = messages(new Pieces(encode("a\nlonger\nb\nlonger\nc\n")), lines(options));
  assertEquals([await channel.receive(), await channel.receive()], ["a", "b"]);
  using conn = channel.detach();
  await turn();
  assertEquals(await new Response(conn.readable).text(), "longer\nc\n");
  assertEquals(skipped, ["6/4"]);
});

test("detach() in onSkip loses nothing and returns nothing twice, wherever the bytes are split", async () => {
  const all = encode("one\nlonger\ntwo\nthree\n");
  for (let i = 0; i <= all.length; i++) {
    let rest: Connection | undefined;
    const onSkip = () => void (rest = channel.detach());
    const conn = new Pieces(all.subarray(0, i), all.subarray(i));
    const channel = messages(conn, lines({ maxBytes: 5, tooLong: "skip", onSkip }));
    let text = "";
    while (rest === undefined) {
      const line = await channel.receive().catch((error) => assertInstanceOf(error, Error));
      if (line !== undefined) text += `${line}\n`;
      // Without it, a test that never ends would also keep its deadline from coming.
      await turn();
    }
    assertEquals(text + await new Response(rest.readable).text(), "one\ntwo\nthree\n", `${i}`);
  }
});

test('lines({ tooLong: "skip" }) prints what onSkip throws or rejects with, and goes on', async () => {
  const { error } = console;
  const printed: unknown[] = [];
  console.error = (thrown) => printed.push(thrown);
  try {
    const thrown = new TypeError("of onSkip");
    const rejected = new RangeError("of its promise");
    const failing = [() => {
      throw thrown;
    }, () => Promise.reject(rejected)];
    for (const onSkip of failing) {
      const [a, b] = await socketpair();
      await using sender = messages(a, lines());
      await using receiver = messages(b, lines({ maxBytes: 4, tooLong: "skip", onSkip }));
      for (const line of ["one", "longer", "two"]) await sender.send(line);
      await sender.closeWrite();
      assertEquals(await Array.fromAsync(receiver), ["one", "two"]);
    }
    assertEquals(printed, [thrown, rejected]);
  } finally {
    console.error = error;
  }
});
