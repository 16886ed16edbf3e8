import {
  type Codec,
  contentLength,
  delimited,
  json,
  lengthPrefixed,
  lines,
  messages,
  MessageTooLarge,
  socketpair,
  text,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { encode, test } from "../_helpers.ts";
import { type AnyError, assertDocumentedFields } from "../errors/_errors.ts";
import { concat, decoded, HELLO, LIMIT, slow, unhex } from "./_framing.ts";

const MALFORMED: [string, Codec<unknown, never>, Uint8Array, unknown[], string][] = [
  [
    "contentLength() refuses headers without a length",
    contentLength(),
    encode("Content-Type: x\r\n\r\n"),
    [],
    "it has no Content-Length header",
  ],
  [
    "contentLength() refuses an empty header block",
    contentLength(),
    encode("\r\n"),
    [],
    "it has no Content-Length header",
  ],
  [
    "contentLength() refuses two lengths, also the same",
    contentLength(),
    encode("Content-Length: 1\r\ncontent-length: 1\r\n\r\nx"),
    [],
    "it has two Content-Length headers",
  ],
  ...["-1", "+1", "1.5", "0x1", "", "1 1", "1,1", "١"].map((
    value,
  ): typeof MALFORMED[number] => [
    `contentLength() refuses the length ${JSON.stringify(value)}`,
    contentLength(),
    encode(`Content-Length: ${value}\r\n\r\nx`),
    [],
    "its Content-Length is ",
  ]),
  [
    "contentLength() refuses a line that is not a header",
    contentLength(),
    encode("Content-Length: 1\r\nhello\r\n\r\nx"),
    [],
    '"hello" is not a header',
  ],
  [
    "contentLength() refuses a line that ends without CR, at once",
    contentLength(),
    encode("Content-Length: 1\n"),
    [],
    "a line of its headers ends without a carriage return",
  ],
  [
    "lines() refuses bytes that are not UTF-8, after the lines before it",
    lines(),
    concat(encode("a\n"), unhex("c3 28 0a"), encode("b\n")),
    ["a"],
    "a line of 2 bytes is not UTF-8",
  ],
  [
    "lines() refuses a surrogate in UTF-8",
    lines(),
    unhex("ed a0 80 0a"),
    [],
    "a line of 3 bytes is not UTF-8",
  ],
  [
    "text() refuses bytes that are not UTF-8, after the texts before it",
    text(delimited(0)),
    concat(encode("a\0"), unhex("ff 00")),
    ["a"],
    "a text of 1 bytes is not UTF-8",
  ],
  [
    "json() refuses text that is not JSON, after the values before it",
    json(lines()),
    encode("1\n[2\n3\n"),
    [1],
    "its text is not JSON",
  ],
  [
    "json() does not take two values in a line for two messages",
    json(lines()),
    encode("1,2\n"),
    [],
    "its text is not JSON",
  ],
  ["json() refuses an empty line", json(lines()), encode("\n"), [], "an empty text is not JSON"],
  [
    "json() refuses a byte order mark",
    json(lines()),
    encode("\uFEFF1\n"),
    [],
    "its text is not JSON",
  ],
];

for (const [name, codec, bytes, before, state] of MALFORMED) {
  test(name, async () => {
    for (const way of [codec, slow(codec)]) {
      for (let i = 0; i <= bytes.length; i++) {
        const { values, error } = await decoded(way, bytes.subarray(0, i), bytes.subarray(i));
        assertEquals(values, before);
        assertInstanceOf(error, Deno.errors.InvalidData);
        const message = `Cannot decode a message from the peer: ${state}`;
        assert(error.message.startsWith(message), error.message);
        assertDocumentedFields(error as unknown as AnyError);
      }
    }
  });
}

test("json() has the syntax error as its cause", async () => {
  const { error } = await decoded(json(lines()), encode("{\n"));
  assertInstanceOf(error?.cause, SyntaxError);
});

test("json() passes on what parse makes and what it throws", async () => {
  const refusal = new Error("not a number");
  const codec = json(lines(), (value) => {
    if (typeof value !== "number") throw refusal;
    return value * 2;
  });
  const { values, error } = await decoded(codec, encode("1\n2\ntrue\n3\n"));
  assertEquals(values, [2, 4]);
  assertEquals(error, refusal);
});

// Name, codec, a message at the limit, a message above it, and the size in the error.
const LARGE: [string, Codec<unknown, never>, Uint8Array, Uint8Array, number][] = [
  [
    "lengthPrefixed()",
    lengthPrefixed(LIMIT),
    unhex("00000004 00000000"),
    unhex("00000005"),
    5,
  ],
  [
    "lengthPrefixed() with the highest bit set",
    lengthPrefixed(LIMIT),
    unhex("00000004 00000000"),
    unhex("ffffffff"),
    0xffff_ffff,
  ],
  [
    "lengthPrefixed({ prefix: 8 }) above 2^53",
    lengthPrefixed({ prefix: 8, maxBytes: 2 ** 32 }),
    unhex("0000000000000000"),
    unhex("0020000000000001"),
    2 ** 53,
  ],
  [
    "lengthPrefixed({ prefix: 8, littleEndian: true }) above 2^53",
    lengthPrefixed({ prefix: 8, littleEndian: true }),
    unhex("0000000000000000"),
    unhex("ffffffffffffffff"),
    2 ** 64,
  ],
  ["delimited()", delimited(0, LIMIT), unhex("01020304 00"), unhex("0102030405"), 5],
  [
    "delimited() with its end",
    delimited(0, LIMIT),
    unhex("01020304 00"),
    unhex("0102030405 00"),
    5,
  ],
  ["lines()", lines(LIMIT), encode("grü\n"), encode("grün\n"), 5],
  ["lines() without an end", lines(LIMIT), encode("abcd\r\n"), encode("abcde"), 5],
  [
    "contentLength()",
    contentLength(LIMIT),
    encode("Content-Length: 4\r\n\r\nabcd"),
    encode("Content-Length: 5\r\n\r\n"),
    5,
  ],
  [
    "contentLength() with a huge length",
    contentLength(),
    encode("Content-Length: 0\r\n\r\n"),
    encode("Content-Length: 99999999999999999999\r\n\r\n"),
    1e20,
  ],
  [
    "contentLength() with headers without an end",
    contentLength(),
    encode("Content-Length: 0\r\n\r\n"),
    encode("X: y\r\n".repeat(1400)),
    8400,
  ],
  ["text()", text(delimited(0, LIMIT)), encode("grü\0"), encode("grün\0"), 5],
  ["json()", json(lines(LIMIT)), encode("1234\n"), encode("12345\n"), 5],
];

for (const [name, codec, right, tooMuch, size] of LARGE) {
  test(`${name} takes a message as large as its limit, and refuses a larger one`, async () => {
    for (const way of [codec, slow(codec)]) {
      const steps = tooMuch.length > 100 ? 1000 : 1;
      for (let i = 0; i <= tooMuch.length; i += steps) {
        const first = concat(right, tooMuch.subarray(0, i));
        const { values, error } = await decoded(way, first, tooMuch.subarray(i));
        assertEquals(values.length, 1);
        assertInstanceOf(error, MessageTooLarge);
        assertInstanceOf(error, RangeError);
        assertEquals(error.size, size);
        assertEquals(error.operation, "decode");
        const isHeader = name.includes("headers");
        const limit = isHeader ? 8192 : codec.maxBytes;
        assertEquals(error.limit, limit);
        const remedy = isHeader ? "No option raises it" : "Raise maxBytes of the codec";
        const end = `bytes, and the limit is ${limit}. ${remedy}`;
        assert(error.message.endsWith(end), error.message);
      }
    }
  });
}

test("a limit is checked before anything is allocated", async () => {
  // An allocated gibibyte would show here.
  const before = Deno.memoryUsage().external;
  const [a, b] = await socketpair();
  await using sender = a;
  await using receiver = messages(b, lengthPrefixed({ maxBytes: 2 ** 31 }));
  await sender.write(unhex("40000000 00"));
  const reading = receiver.receive({ signal: AbortSignal.timeout(50) });
  await assertRejects(() => reading, DOMException);
  assert(Deno.memoryUsage().external - before < 8 * 1024 * 1024);
});

test("a codec that never decides is refused beyond its limit", async () => {
  const codec: Codec<never> = { maxBytes: 10, encode() {}, decode: () => undefined };
  const { error } = await decoded(codec, new Uint8Array(200_000));
  assertInstanceOf(error, MessageTooLarge);
  const greedy: Codec<never> = { maxBytes: 10, encode() {}, decode: () => 1e9 };
  assertInstanceOf((await decoded(greedy, HELLO)).error, MessageTooLarge);
});

test("a codec that takes nothing, or more than there is, is refused instead of called again and again", async () => {
  for (const end of [0, -1, 6, 1.5, NaN]) {
    const codec: Codec<number> = { maxBytes: 10, encode() {}, decode: () => ({ message: 1, end }) };
    const { error } = await decoded(codec, HELLO);
    assertInstanceOf(error, TypeError);
    assertEquals(error.message, `Invalid codec: decode() took ${end} of 5 bytes`);
  }
});

test("a codec that reports how much it needs is called again when that has come", async () => {
  const asked: number[] = [];
  const frames = lengthPrefixed({ prefix: 1 });
  const codec: Codec<Uint8Array> = {
    maxBytes: 255,
    encode() {},
    decode(bytes) {
      asked.push(bytes.length);
      return frames.decode(bytes, 0);
    },
  };
  const bytes = concat(unhex("64"), new Uint8Array(100));
  await decoded(codec, ...[...bytes].map((byte) => new Uint8Array([byte])));
  assertEquals(asked, [1, 101]);
});
