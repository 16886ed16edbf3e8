import {
  type ByteWriter,
  type Codec,
  connect,
  ConnectionClosed,
  contentLength,
  decodeStream,
  delimited,
  encodeStream,
  json,
  lengthPrefixed,
  lines,
  listen,
  type Messages,
  messages,
  MessageTooLarge,
  serve,
  socketpair,
  text,
  toConnection,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import {
  decode,
  encode,
  fixture,
  pseudoRandom,
  readAll,
  TempDir,
  test,
  testAlone,
} from "../_helpers.ts";

/** The class of an error, whatever it is made of. */
// deno-lint-ignore no-explicit-any
type ErrorClass = new (...args: any[]) => Error;

// ---- Helpers ----------------------------------------------------------------------------------------

/** A channel that gives pieces of bytes, and then the end; what is written to it is kept. */
class Pieces {
  readonly written: Uint8Array[] = [];
  closedWrite = false;
  closed = false;
  #left: Uint8Array[];

  constructor(...pieces: Uint8Array[]) {
    this.#left = pieces.filter((piece) => piece.length > 0);
  }

  read(buffer: Uint8Array): Promise<number | null> {
    const piece = this.#left.shift();
    if (piece === undefined) return Promise.resolve(null);
    const count = Math.min(piece.length, buffer.length);
    buffer.set(piece.subarray(0, count));
    if (count < piece.length) this.#left.unshift(piece.subarray(count));
    return Promise.resolve(count);
  }

  write(data: Uint8Array): Promise<number> {
    this.written.push(data.slice());
    return Promise.resolve(data.length);
  }

  closeWrite(): Promise<void> {
    this.closedWrite = true;
    return Promise.resolve();
  }

  close(): void {
    this.closed = true;
  }

  /** Everything that was written. */
  get bytes(): Uint8Array {
    return concat(...this.written);
  }
}

function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The bytes of messages. */
async function encoded<T>(codec: Codec<T>, ...values: T[]): Promise<Uint8Array> {
  const conn = new Pieces();
  const channel = messages(conn, codec);
  for (const value of values) await channel.send(value);
  await channel.flush();
  return conn.bytes;
}

/** The messages of bytes, and how they end: `undefined`, or the error. */
async function decoded<T>(
  codec: Codec<T>,
  ...pieces: Uint8Array[]
): Promise<{ values: T[]; error?: Error }> {
  const channel = messages(new Pieces(...pieces), codec);
  const values: T[] = [];
  try {
    for await (const value of channel) values.push(value);
    return { values };
  } catch (error) {
    return { values, error: error as Error };
  }
}

function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

function unhex(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array((text.match(/[0-9a-f]{2}/g) ?? []).map((byte) => parseInt(byte, 16)));
}

/** Two channels that talk to each other. */
async function channels<T>(codec: Codec<T>, options = {}) {
  const [a, b] = await socketpair();
  return { a, b, ours: messages(a, codec, options), theirs: messages(b, codec) };
}

/** A codec without the fast way in. */
function slow<T>(codec: Codec<T>): Codec<T> {
  return {
    maxBytes: codec.maxBytes,
    encode: (message, out) => codec.encode(message, out),
    decode: (bytes, scanned) => codec.decode(bytes, scanned),
    ...(codec.finish && { finish: (rest: Uint8Array) => codec.finish!(rest) }),
  };
}

const HELLO = encode("hello");
const EMPTY = new Uint8Array(0);

// ---- Frames: bytes out, and bytes in, split anywhere ---------------------------------------------------

const FRAMES: [string, Codec<unknown>, unknown[], Uint8Array][] = [
  ["lengthPrefixed()", lengthPrefixed(), [HELLO, EMPTY], unhex("00000005 68656c6c6f 00000000")],
  [
    "lengthPrefixed({ prefix: 1 })",
    lengthPrefixed({ prefix: 1 }),
    [HELLO, EMPTY],
    unhex("05 68656c6c6f 00"),
  ],
  [
    "lengthPrefixed({ prefix: 2, littleEndian: true })",
    lengthPrefixed({ prefix: 2, littleEndian: true }),
    [HELLO, new Uint8Array(258)],
    concat(unhex("0500 68656c6c6f 0201"), new Uint8Array(258)),
  ],
  [
    "lengthPrefixed({ prefix: 8 })",
    lengthPrefixed({ prefix: 8 }),
    [HELLO, EMPTY],
    unhex("0000000000000005 68656c6c6f 0000000000000000"),
  ],
  [
    "lengthPrefixed({ prefix: 8, littleEndian: true })",
    lengthPrefixed({ prefix: 8, littleEndian: true }),
    [HELLO],
    unhex("0500000000000000 68656c6c6f"),
  ],
  ["delimited(0)", delimited(0), [HELLO, EMPTY], unhex("68656c6c6f 00 00")],
  [
    "lines()",
    lines(),
    ["hello", "", "grün\rblau", "\uFEFFmark", "\uFFFD"],
    encode(
      "hello\n\ngrün\rblau\n\uFEFFmark\n\uFFFD\n",
    ),
  ],
  [
    "contentLength()",
    contentLength(),
    [HELLO, EMPTY],
    encode("Content-Length: 5\r\n\r\nhelloContent-Length: 0\r\n\r\n"),
  ],
  [
    "text(lengthPrefixed())",
    text(lengthPrefixed()),
    ["grün", "", "\uFEFF😀"],
    concat(unhex("00000005"), encode("grün"), unhex("00000000 00000007"), encode("\uFEFF😀")),
  ],
  [
    "json(lines())",
    json(lines()),
    [{ a: 1 }, null, "x\ny\r", [], "\uD800"],
    encode('{"a":1}\nnull\n"x\\ny\\r"\n[]\n"\\ud800"\n'),
  ],
  [
    "json(lengthPrefixed({ prefix: 2 }))",
    json(lengthPrefixed({ prefix: 2 })),
    [{ a: 1 }, null],
    concat(unhex("0007"), encode('{"a":1}'), unhex("0004"), encode("null")),
  ],
  ["json(contentLength())", json(contentLength()), [[1]], encode("Content-Length: 3\r\n\r\n[1]")],
];

for (const [name, codec, values, bytes] of FRAMES) {
  test(`${name} makes the bytes that its diagram shows`, async () => {
    assertEquals(hex(await encoded(codec, ...values)), hex(bytes));
  });

  test(`${name} finds the messages wherever the bytes are split`, async () => {
    for (const way of [codec, slow(codec)]) {
      for (let i = 0; i <= bytes.length; i++) {
        assertEquals(await decoded(way, bytes.subarray(0, i), bytes.subarray(i)), { values });
      }
      assertEquals(await decoded(way, ...[...bytes].map((byte) => new Uint8Array([byte]))), {
        values,
      });
    }
  });

  test(`${name} reports an end within a message, with what there is of it`, async () => {
    for (const way of [codec, slow(codec)]) {
      // Where each message ends.
      const ends = [0];
      for (let i = 1; i <= values.length; i++) {
        ends.push((await encoded(codec, ...values.slice(0, i))).length);
      }
      for (let i = 0; i < bytes.length; i++) {
        const { values: found, error } = await decoded(way, bytes.subarray(0, i));
        const whole = ends.findLastIndex((end) => end <= i);
        assertEquals(found, values.slice(0, whole));
        if (ends.includes(i)) {
          assertEquals(error, undefined);
        } else {
          assertInstanceOf(error, TruncatedMessage);
          assertInstanceOf(error, Deno.errors.UnexpectedEof);
          assertEquals(hex(error.rest), hex(bytes.subarray(ends[whole], i)));
          assertEquals([error.operation, error.path], ["decode", null]);
        }
      }
    }
  });
}

test("lines() ends a line at CR LF as well, wherever the two are split", async () => {
  const bytes = encode("a\r\n\r\nb\rc\r\n");
  for (let i = 0; i <= bytes.length; i++) {
    const { values } = await decoded(lines(), bytes.subarray(0, i), bytes.subarray(i));
    assertEquals(values, ["a", "", "b\rc"]);
  }
});

test("lines({ allowUnterminated: true }) takes what comes before the end for a line", async () => {
  const codec = lines({ allowUnterminated: true });
  assertEquals(await decoded(codec, encode("a\nb")), { values: ["a", "b"] });
  assertEquals(await decoded(codec, encode("a\nb\r")), { values: ["a", "b\r"] });
  assertEquals(await decoded(codec, encode("a\n")), { values: ["a"] });
  assertEquals(await decoded(json(codec), encode("1\n2")), { values: [1, 2] });
  const { values, error } = await decoded(codec, encode("a\n"), unhex("ff"));
  assertEquals(values, ["a"]);
  assertInstanceOf(error, Deno.errors.InvalidData);
});

test("contentLength() skips other headers, and reads names in any case", async () => {
  const bytes = encode(
    "Content-Type: application/vscode-jsonrpc; charset=utf-8\r\ncontent-LENGTH:\t 2 \r\n\r\n{}",
  );
  for (let i = 0; i <= bytes.length; i++) {
    const { values } = await decoded(
      json(contentLength()),
      bytes.subarray(0, i),
      bytes.subarray(i),
    );
    assertEquals(values, [{}]);
  }
});

test("contentLength() takes no longer for a header block that is full of blanks", () => {
  const blanks = " \t".repeat(4000);
  const begin = performance.now();
  assertThrows(
    () => contentLength().decode(encode(`A:${blanks}\rx\r\n\r\n`), 0),
    Deno.errors.InvalidData,
    "is no header",
  );
  assertThrows(
    () => contentLength().decode(encode(`Content-Length:1${blanks}x\r\n\r\n`), 0),
    Deno.errors.InvalidData,
    "its Content-Length is",
  );
  assertEquals(
    contentLength().decode(encode(`Content-Length:${blanks}1\r\n\r\nx`), 0),
    { message: encode("x"), end: blanks.length + 21 },
  );
  // It took minutes.
  assert(performance.now() - begin < 1000);
});

test("text() is not disturbed by a text that its frames encode for themselves", async () => {
  const head = text(lengthPrefixed());
  const body = lengthPrefixed();
  const frames: Codec<Uint8Array> = {
    maxBytes: 100,
    encode(message, out) {
      head.encode("kind", out);
      body.encode(message, out);
    },
    decode: () => undefined,
  };
  const expected = await encoded(text(lengthPrefixed()), "kind", "grün!");
  assertEquals(await encoded(text(frames), "grün!"), expected);
});

// ---- What is refused on the way in --------------------------------------------------------------------

const LIMIT = { maxBytes: 4 };
const MALFORMED: [string, Codec<unknown>, Uint8Array, unknown[], string][] = [
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
    "contentLength() refuses a line that is no header",
    contentLength(),
    encode("Content-Length: 1\r\nhello\r\n\r\nx"),
    [],
    '"hello" is no header',
  ],
  [
    "contentLength() refuses a line that ends without CR, at once",
    contentLength(),
    encode("Content-Length: 1\n"),
    [],
    "a line of its headers ends without a carriage return",
  ],
  [
    "lines() refuses what is no UTF-8, after the lines before it",
    lines(),
    concat(encode("a\n"), unhex("c3 28 0a"), encode("b\n")),
    ["a"],
    "a line of 2 bytes is no UTF-8",
  ],
  [
    "lines() refuses a surrogate in UTF-8",
    lines(),
    unhex("ed a0 80 0a"),
    [],
    "a line of 3 bytes is no UTF-8",
  ],
  [
    "text() refuses what is no UTF-8, after the texts before it",
    text(delimited(0)),
    concat(encode("a\0"), unhex("ff 00")),
    ["a"],
    "a text of 1 bytes is no UTF-8",
  ],
  [
    "json() refuses what is no JSON, after the values before it",
    json(lines()),
    encode("1\n[2\n3\n"),
    [1],
    "its text is no JSON",
  ],
  [
    "json() does not take two values in a line for two messages",
    json(lines()),
    encode("1,2\n"),
    [],
    "its text is no JSON",
  ],
  ["json() refuses an empty line", json(lines()), encode("\n"), [], "an empty text is no JSON"],
  [
    "json() refuses a byte order mark",
    json(lines()),
    encode("\uFEFF1\n"),
    [],
    "its text is no JSON",
  ],
];

for (const [name, codec, bytes, before, state] of MALFORMED) {
  test(name, async () => {
    for (const way of [codec, slow(codec)]) {
      for (let i = 0; i <= bytes.length; i++) {
        const { values, error } = await decoded(way, bytes.subarray(0, i), bytes.subarray(i));
        assertEquals(values, before);
        assertInstanceOf(error, Deno.errors.InvalidData);
        assert(error.message.startsWith(`Cannot decode a message: ${state}`), error.message);
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

// name, codec, what is just right, what is too much, and the size that is named
const LARGE: [string, Codec<unknown>, Uint8Array, Uint8Array, number][] = [
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
        const limit = name.includes("headers") ? 8192 : codec.maxBytes;
        assertEquals(error.limit, limit);
        assert(error.message.endsWith(`bytes, and the limit is ${limit}`), error.message);
      }
    }
  });
}

test("a limit is checked before anything is allocated", async () => {
  // A gibibyte that was asked for would show.
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

test("a codec that takes nothing, or more than there is, is refused instead of asked for ever", async () => {
  for (const end of [0, -1, 6, 1.5, NaN]) {
    const codec: Codec<number> = { maxBytes: 10, encode() {}, decode: () => ({ message: 1, end }) };
    const { error } = await decoded(codec, HELLO);
    assertInstanceOf(error, TypeError);
    assertEquals(error.message, `Invalid codec: decode() took ${end} of 5 bytes`);
  }
});

test("a codec that says how much it needs is asked again when it is there", async () => {
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

// ---- What is refused on the way out -------------------------------------------------------------------

const cycle: unknown[] = [];
cycle.push(cycle);

const REFUSED: [string, Codec<never>, unknown, ErrorClass, string][] = [
  ["a text", lengthPrefixed(), "x", TypeError, 'got "x". Wrap the codec: text(…)'],
  ["an array", lengthPrefixed(), [1], TypeError, "expected a Uint8Array, got an array"],
  ["bytes above the limit", lengthPrefixed(LIMIT), HELLO, MessageTooLarge, "5 bytes"],
  [
    "bytes above the prefix",
    lengthPrefixed({ prefix: 1 }),
    new Uint8Array(256),
    MessageTooLarge,
    "255",
  ],
  ["the delimiter", delimited(108), HELLO, RangeError, "it has the delimiter, 108, at byte 2"],
  ["bytes above the limit", delimited(0, LIMIT), HELLO, MessageTooLarge, "5 bytes"],
  ["a line feed", lines(), "a\nb", RangeError, "it has a line feed at 1"],
  ["a carriage return at the end", lines(), "a\r", RangeError, "it ends with a carriage return"],
  ["a lone surrogate", lines(), "\uD800", TypeError, "the text has a lone surrogate"],
  ["a line above the limit", lines(LIMIT), "grün", MessageTooLarge, "5 bytes"],
  ["a number", lines(), 1, TypeError, "expected a string, got 1"],
  ["a lone surrogate", text(delimited(0)), "\uDC00", TypeError, "lone surrogate"],
  ["the delimiter", text(delimited(0)), "a\0", RangeError, "delimiter"],
  ["bytes above the limit", contentLength(LIMIT), HELLO, MessageTooLarge, "5 bytes"],
  ["undefined", json(lines()), undefined, TypeError, "undefined has no JSON"],
  ["a function", json(lines()), () => {}, TypeError, "a function has no JSON"],
  ["a symbol", json(lines()), Symbol("s"), TypeError, "Symbol(s) has no JSON"],
  ["a BigInt", json(lines()), 1n, TypeError, "BigInt"],
  ["a cycle", json(lines()), cycle, TypeError, "circular"],
  ["a value above the limit", json(lines(LIMIT)), "abc", MessageTooLarge, "5 bytes"],
] as typeof REFUSED;

const NOWHERE: ByteWriter = {
  byte() {},
  uint32() {},
  bytes() {},
  text: () => 0,
  reserve: () => EMPTY,
};

for (const [i, [what, codec, value, Class, state]] of REFUSED.entries()) {
  test(`send() refuses ${what}, and appends nothing (${i})`, async () => {
    const conn = new Pieces();
    const channel = messages(conn, codec);
    await assertRejects(() => channel.send(value as never), Class, state);
    const early = codec as Codec<unknown>;
    const good = [EMPTY, "", 1].find((each) => {
      try {
        early.encode(each, NOWHERE);
        return true;
      } catch {
        return false;
      }
    });
    await channel.send(good as never);
    await channel.flush();
    assertEquals(hex(conn.bytes), hex(await encoded(early, good)));
  });
}

test("send() appends nothing of a message whose codec throws, however much it had appended", async () => {
  for (const size of [10, 60_000, 70_000, 200_000, 1_000_000]) {
    const conn = new Pieces();
    const codec: Codec<{ fail: boolean }> = {
      maxBytes: 2 ** 30,
      encode({ fail }, out: ByteWriter) {
        out.byte(1);
        out.bytes(new Uint8Array(size).fill(2));
        out.text("3".repeat(size));
        out.reserve(size).fill(4);
        if (fail) throw new Error("no");
      },
      decode: () => undefined,
    };
    const channel = messages(conn, codec);
    channel.send({ fail: false });
    await assertRejects(() => channel.send({ fail: true }), Error, "no");
    channel.send({ fail: false });
    await assertRejects(() => channel.send({ fail: true }), Error, "no");
    await channel.flush();
    const one = concat(
      unhex("01"),
      new Uint8Array(size).fill(2),
      encode("3".repeat(size)),
      new Uint8Array(size).fill(4),
    );
    assert(equalBytes(conn.bytes, concat(one, one)));
  }
});

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

test("ByteWriter.reserve() gives zeros, also where the memory was used before", async () => {
  const codec: Codec<number> = {
    maxBytes: 100,
    encode: (size, out) => void out.reserve(size),
    decode: () => undefined,
  };
  // Fill and give back some blocks.
  await encoded(lengthPrefixed(), ...Array(8).fill(new Uint8Array(60_000).fill(255)));
  assertEquals(await encoded(codec, 1000), new Uint8Array(1000));
});

test("ByteWriter.uint32() appends four bytes in either order, also across blocks", async () => {
  const codec: Codec<number> = {
    maxBytes: 100,
    encode(value, out) {
      out.uint32(value);
      out.uint32(value, true);
      // So that the next one begins at another place of its block.
      out.byte(0xff);
    },
    decode: () => undefined,
  };
  assertEquals(hex(await encoded(codec, 0x01020304)), "01 02 03 04 04 03 02 01 ff");
  assertEquals(hex(await encoded(codec, 2 ** 32 - 2)), "ff ff ff fe fe ff ff ff ff");
  assertEquals(hex(await encoded(codec, 2 ** 40 + 1)), "00 00 00 01 01 00 00 00 ff");
  const all = await encoded(codec, ...Array(20_000).fill(0x01020304));
  assertEquals(all.length, 20_000 * 9);
  for (let at = 0; at < all.length; at += 9) {
    assertEquals(hex(all.subarray(at, at + 9)), "01 02 03 04 04 03 02 01 ff");
  }
});

test("send() within encode() is refused", async () => {
  const conn = new Pieces();
  const codec: Codec<number> = {
    maxBytes: 100,
    encode(value, out) {
      out.byte(value);
      if (value === 1) inner = channel.send(2);
    },
    decode: () => undefined,
  };
  let inner: Promise<void> | undefined;
  const channel = messages(conn, codec);
  await channel.send(1);
  await assertRejects(() => inner!, TypeError, "still encoding another");
  await channel.flush();
  assertEquals(conn.bytes, unhex("01"));
});

test("flush() and closeWrite() within encode() are refused, and nothing is sent twice", async () => {
  for (const call of ["flush", "closeWrite"] as const) {
    const conn = new Pieces();
    const codec: Codec<number> = {
      maxBytes: 100,
      encode(value, out) {
        out.byte(value);
        if (value !== 2) return;
        inner = channel[call]();
        throw new Error("no");
      },
      decode: () => undefined,
    };
    let inner: Promise<void> | undefined;
    const channel = messages(conn, codec);
    channel.send(1);
    await assertRejects(() => channel.send(2), Error, "no");
    await assertRejects(() => inner!, TypeError, "still encoding another");
    await channel.send(3);
    await channel.closeWrite();
    assertEquals(conn.bytes, unhex("01 03"));
  }
});

const MISUSED: [string, (out: ByteWriter) => unknown, ErrorClass][] = [
  ["reserve(-1)", (out) => out.reserve(-1), RangeError],
  ["reserve(NaN)", (out) => out.reserve(NaN), RangeError],
  ["reserve(1.5)", (out) => out.reserve(1.5), RangeError],
  ["reserve()", (out) => out.reserve(undefined as never), TypeError],
  ["bytes() of a string", (out) => out.bytes("abc" as never), TypeError],
  ["bytes() of an ArrayBuffer", (out) => out.bytes(new ArrayBuffer(3) as never), TypeError],
  ["bytes() of other numbers", (out) => out.bytes(new Uint16Array(3) as never), TypeError],
  ["text() of a number", (out) => out.text(5 as never), TypeError],
  ["a promise", (out) => Promise.resolve(out.byte(1)), TypeError],
  ["a promise that rejects", () => Promise.reject(new Error("later")), TypeError],
];

for (const [what, misuse, Class] of MISUSED) {
  test(`send() refuses a codec whose encode() makes ${what}, and appends nothing`, async () => {
    const conn = new Pieces();
    const codec: Codec<boolean> = {
      maxBytes: 100,
      encode(wrong, out) {
        out.byte(7);
        if (wrong) return misuse(out) as void;
      },
      decode: () => undefined,
    };
    const channel = messages(conn, codec);
    channel.send(false);
    await assertRejects(() => channel.send(true), Class);
    await channel.send(false);
    await channel.flush();
    assertEquals(conn.bytes, unhex("07 07"));
  });
}

// ---- Arguments ------------------------------------------------------------------------------------------

const PLAIN: Codec<Uint8Array> = { maxBytes: 1, encode() {}, decode: () => undefined };
const BAD: [string, () => unknown, ErrorClass, string][] = [
  ["text(frames without a limit)", () => text({ ...PLAIN, maxBytes: NaN }), TypeError, "codec"],
  ["lengthPrefixed({ prefix: 3 })", () => lengthPrefixed({ prefix: 3 as 4 }), TypeError, "prefix"],
  [
    "lengthPrefixed({ maxBytes: 0 })",
    () => lengthPrefixed({ maxBytes: 0 }),
    RangeError,
    "maxBytes",
  ],
  ["lengthPrefixed({ size: 4 })", () => lengthPrefixed({ size: 4 } as never), TypeError, "size"],
  [
    "lengthPrefixed({ littleEndian: 1 })",
    () => lengthPrefixed({ littleEndian: 1 as never }),
    TypeError,
    "littleEndian",
  ],
  ["delimited()", () => delimited(undefined as never), TypeError, "byte"],
  ["delimited(256)", () => delimited(256), RangeError, "byte"],
  ['delimited("\\n")', () => delimited("\n" as never), TypeError, "byte"],
  ["lines({ maxBytes: 1.5 })", () => lines({ maxBytes: 1.5 }), RangeError, "maxBytes"],
  [
    "lines({ allowUnterminated: 1 })",
    () => lines({ allowUnterminated: 1 as never }),
    TypeError,
    "allowUnterminated",
  ],
  ["contentLength({ max: 1 })", () => contentLength({ max: 1 } as never), TypeError, "max"],
  ["text(lines())", () => text(lines() as never), TypeError, "texts already"],
  ["text({})", () => text({} as never), TypeError, "expected a codec"],
  ["json()", () => json(undefined as never), TypeError, "expected a codec"],
  ["json(lines(), 1)", () => json(lines(), 1 as never), TypeError, "parse"],
  ["messages({}, lines())", () => messages({} as never, lines()), TypeError, "read and write"],
  ["messages(conn)", () => messages(new Pieces(), undefined as never), TypeError, "codec"],
  [
    "messages(conn, codec, { maxPending: 0 })",
    () => messages(new Pieces(), lines(), { maxPending: 0 }),
    RangeError,
    "maxPending",
  ],
  [
    "messages(conn, codec, { frameTimeout: 0 })",
    () => messages(new Pieces(), lines(), { frameTimeout: 0 }),
    RangeError,
    "frameTimeout",
  ],
  [
    "messages(conn, codec, { reuse: 1 })",
    () => messages(new Pieces(), lines(), { reuse: 1 as never }),
    TypeError,
    "reuse",
  ],
  [
    "messages(conn, codec, { draining: true })",
    () => messages(new Pieces(), lines(), { draining: true as never }),
    TypeError,
    "signal",
  ],
  ["encodeStream({})", () => encodeStream({} as never), TypeError, "codec"],
  ["decodeStream({})", () => decodeStream({} as never), TypeError, "codec"],
];

for (const [call, fn, Class, what] of BAD) {
  test(`${call} throws before anything happens`, () => {
    const error = assertThrows(fn, Error);
    assertInstanceOf(error, Class);
    assert((error as Error).message.includes(what), (error as Error).message);
  });
}

test("the limit of a short prefix is what it can say", () => {
  assertEquals(lengthPrefixed({ prefix: 1 }).maxBytes, 255);
  assertEquals(lengthPrefixed({ prefix: 2 }).maxBytes, 65535);
  assertEquals(json(text(lengthPrefixed({ prefix: 2 }))).maxBytes, 65535);
  assertEquals(lines().maxBytes, 16 * 1024 * 1024);
});

// ---- Sending ------------------------------------------------------------------------------------------

test("send() puts all messages of a turn into one write, in order", async () => {
  const conn = new Pieces();
  const channel = messages(conn, lines());
  const all: Promise<void>[] = [];
  for (let i = 0; i < 100; i++) all.push(channel.send(`${i}`));
  await Promise.all(all);
  await channel.flush();
  const expected = Array.from({ length: 100 }, (_, i) => `${i}\n`).join("");
  assertEquals(conn.written.map(decode), [expected]);
});

test("send() awaited each time makes few writes", async () => {
  const conn = new Pieces();
  const channel = messages(conn, lines());
  for (let i = 0; i < 1000; i++) await channel.send(`${i}`);
  await channel.flush();
  assert(conn.written.length <= 3, `${conn.written.length} writes`);
});

test("send() resolves while less than maxPending bytes wait, and then when the peer reads", async () => {
  const [a, b] = await socketpair();
  await using channel = messages(a, lengthPrefixed(), { maxPending: 100_000 });
  const message = new Uint8Array(10_000);
  let sent = 0;
  let stopped = false;
  const sending = (async () => {
    while (sent < 200) {
      await channel.send(message);
      sent++;
    }
  })();
  // The kernel and the channel are full when nothing more is sent in a while.
  for (let last = -1; last !== sent;) {
    last = sent;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  stopped = sent < 200;
  assert(stopped, "there is no backpressure");
  // What waits is the mark and one message at most, beside what the kernel takes.
  assert(sent * 10_004 < 100_000 + 10_004 + 512 * 1024, `${sent}`);
  await using receiver = messages(b, lengthPrefixed());
  for (let i = 0; i < 200; i++) assertEquals((await receiver.receive())?.length, 10_000);
  await sending;
});

test("send() of a large message resolves when the kernel has it, and copies nothing", async () => {
  const large = new Uint8Array(300_000).fill(1);
  const buffers = new Set<ArrayBufferLike>();
  const conn = new Pieces();
  const write = conn.write.bind(conn);
  conn.write = (data) => {
    buffers.add(data.buffer);
    return write(data);
  };
  const channel = messages(conn, lengthPrefixed());
  const sending = channel.send(large);
  await channel.send(HELLO);
  await sending;
  assert(buffers.has(large.buffer));
  await channel.flush();
  assertEquals((await decoded(lengthPrefixed(), conn.bytes)).values, [large, HELLO]);
});

test("send() works over a write that takes only a part, such as Deno's own", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  using listener = Deno.listen({ transport: "unix", path });
  const [client, server] = await Promise.all([
    Deno.connect({ transport: "unix", path }),
    listener.accept(),
  ]);
  const data = pseudoRandom(3_000_000, 1);
  await using ours = messages(client, lengthPrefixed());
  await using theirs = messages(server, lengthPrefixed());
  const sending = ours.send(data);
  assert(equalBytes((await theirs.receive())!, data));
  await sending;
  await ours.closeWrite();
  assertEquals(await theirs.receive(), undefined);
});

test("a write() or read() that makes no progress is refused instead of repeated", async () => {
  for (const count of [0, -1, 7, NaN, undefined]) {
    const conn = {
      read: () => Promise.resolve(count as number),
      write: () => Promise.resolve(count as number),
    };
    const channel = messages(conn, lengthPrefixed({ prefix: 1 }));
    channel.send(HELLO);
    await assertRejects(() => channel.flush(), TypeError, "invalid connection: write() gave");
    if (count !== 7) {
      await assertRejects(() => channel.receive(), TypeError, "Invalid connection: read() gave");
    }
  }
});

test("a failing write rejects with everything that was not sent, then each call does", async () => {
  const { a, b, ours } = await channels(lines());
  b.close();
  await using _ = a;
  ours.send("one");
  ours.send("two");
  const error = await assertRejects(() => ours.flush(), Deno.errors.BrokenPipe);
  assertEquals(decode((error as unknown as { unsent: Uint8Array }).unsent), "one\ntwo\n");
  assert(error.message.endsWith("and 8 bytes of messages were not sent"), error.message);
  assertEquals((error as unknown as { operation: string }).operation, "send");
  assertEquals((error as unknown as { code: string }).code, "EPIPE");
  assertEquals(await ours.send("three").catch((e) => e), error);
  assertEquals(await ours.flush().catch((e) => e), error);
  assertEquals(await ours.closeWrite().catch((e) => e), error);
  // It has been reported.
  await ours[Symbol.asyncDispose]();
});

test("disposal rejects when messages were lost and no call has said so", async () => {
  const { b, ours } = await channels(lines());
  b.close();
  await ours.send("one");
  await assertRejects(() => ours[Symbol.asyncDispose](), Deno.errors.BrokenPipe, "4 bytes");
  // And only once.
  await ours[Symbol.asyncDispose]();
});

test("disposal is silent where receive() has reported that the connection is gone", async () => {
  const { b, ours } = await channels(lines());
  await ours.send("unread");
  await ours.flush();
  b.close();
  await assertRejects(() => ours.receive(), Deno.errors.ConnectionReset);
  await ours[Symbol.asyncDispose]();
});

test("disposal writes what was sent first", async () => {
  const { ours, theirs } = await channels(lines());
  {
    await using channel = ours;
    for (let i = 0; i < 50_000; i++) channel.send(`${i}`);
    const receiving = (async () => {
      for (let i = 0; i < 50_000; i++) assertEquals(await theirs.receive(), `${i}`);
    })();
    receiving.catch(() => {});
  }
  theirs.close();
});

test("disposal does not wait for ever for a peer that does not read", async () => {
  const { ours, theirs } = await channels(lengthPrefixed());
  for (let i = 0; i < 20; i++) await ours.send(new Uint8Array(50_000));
  const start = performance.now();
  const error = await assertRejects(
    () => ours[Symbol.asyncDispose](),
    Deno.errors.TimedOut,
    "did not read for 5000 ms",
  );
  assert(performance.now() - start < 8000);
  assert((error as unknown as { unsent: Uint8Array }).unsent.length > 500_000);
  theirs.close();
});

test("close() rejects what waits, and says what is lost", async () => {
  const { ours, theirs } = await channels(lengthPrefixed(), { maxPending: 1000 });
  const large = ours.send(new Uint8Array(1_000_000));
  const small = ours.send(new Uint8Array(500));
  const receiving = ours.receive();
  receiving.catch(() => {});
  ours.close();
  ours.close();
  for (const waiting of [large, small]) {
    const error = await assertRejects(() => waiting, ConnectionClosed, "bytes were not sent");
    assert(error.unsent!.length >= 1_000_508 - 64 * 1024);
  }
  const error = await assertRejects(() => receiving, ConnectionClosed);
  assertEquals([error.operation, error.path], ["receive", null]);
  await assertRejects(() => ours.send(HELLO), ConnectionClosed);
  await assertRejects(() => ours.receive(), ConnectionClosed);
  await assertRejects(() => ours.closeWrite(), ConnectionClosed);
  await ours[Symbol.asyncDispose]();
  theirs.close();
});

test("a send() whose rejection nobody awaits does not end the process", async () => {
  const program = fixture("messages_unawaited.ts", ["--allow-net", "--allow-sys"]);
  await using running = program;
  assertEquals(await running.output(), ["still here"]);
  assertEquals([(await running.status).code, await running.stderr()], [0, ""]);
});

// ---- Receiving ------------------------------------------------------------------------------------------

test("receive() gives undefined at the end, again and again, and null where it was sent", async () => {
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

test("receive() serves first those who came first", async () => {
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

test("break leaves everything else to the next one who receives", async () => {
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

test("receive({ signal }) gives up and loses nothing", async () => {
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
  // Nobody waits when the next one comes.
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

test("a failure of receiving comes after what came before it, and stays; sending goes on", async () => {
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

test("a message of bytes is a view; a copy of it does not keep what came with it", async () => {
  const bytes = concat(...Array(1000).fill(unhex("00000005 68656c6c6f")));
  const { values } = await decoded(lengthPrefixed(), bytes);
  assertEquals(values.length, 1000);
  // Fewer memories than messages: they share, and do not overlap.
  assert(new Set(values.map((value) => value.buffer)).size < 10);
  assert(values.every((value) => decode(value) === "hello"));
  assertEquals(values[0]!.slice().buffer.byteLength, 5);
});

test("messages that are kept stay what they are while others come", async () => {
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

test("messages({ reuse: true }) gives each message until the next one, from the same memory", async () => {
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
    // Sixteen mebibytes in 64 pieces, and in 16,384.
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

// ---- Time -----------------------------------------------------------------------------------------------

test("frameTimeout ends receiving when a message that has begun is not completed", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  await using channel = messages(b, lines(), { frameTimeout: 50 });
  await peer.write(encode("whole\nbeg"));
  assertEquals(await channel.receive(), "whole");
  const error = await assertRejects(() => channel.receive(), Deno.errors.TimedOut);
  assertEquals(
    error.message,
    "Cannot receive from the peer: a message was not complete within 50 ms",
  );
  assertEquals((error as unknown as { code: string }).code, "ETIMEDOUT");
  await peer.write(encode("un\n"));
  assertEquals(await channel.receive().catch((e) => e), error);
  await channel.send("sorry");
  await channel.flush();
  assertEquals(
    decode(
      await new Promise((resolve) => {
        const buffer = new Uint8Array(100);
        peer.read(buffer).then((count) => resolve(buffer.subarray(0, count!)));
      }),
    ),
    "sorry\n",
  );
});

test("frameTimeout counts for a message as a whole, however its pieces come", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  await using channel = messages(b, lines(), { frameTimeout: 100 });
  const timer = setInterval(() => peer.write(encode("x")).catch(() => {}), 10);
  try {
    await assertRejects(() => channel.receive(), Deno.errors.TimedOut);
  } finally {
    clearInterval(timer);
  }
});

test("frameTimeout does not count between messages, nor while nobody receives", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  await using channel = messages(b, lines(), { frameTimeout: 40 });
  await peer.write(encode("one\ntw"));
  assertEquals(await channel.receive(), "one");
  await new Promise((resolve) => setTimeout(resolve, 80));
  await peer.write(encode("o\n"));
  assertEquals(await channel.receive(), "two");
  const waiting = channel.receive();
  await new Promise((resolve) => setTimeout(resolve, 80));
  await peer.write(encode("three\n"));
  assertEquals(await waiting, "three");
});

test("draining ends a receive() that waits, between messages", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  const draining = new AbortController();
  await using channel = messages(b, lines(), { draining: draining.signal });
  const waiting = channel.receive();
  draining.abort();
  assertEquals(await waiting, undefined);
  await channel.send("bye");
  await channel.flush();
  const buffer = new Uint8Array(10);
  assertEquals(await peer.read(buffer), 4);
});

test("draining still delivers what has come, and waits for a message that has begun", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  const draining = new AbortController();
  await using channel = messages(b, lines(), { draining: draining.signal });
  await peer.write(encode("one\n"));
  assertEquals(await channel.receive(), "one");
  await peer.write(encode("two\nthr"));
  draining.abort();
  assertEquals(await channel.receive(), "two");
  const third = channel.receive();
  // More than enough turns to take it for the end.
  await new Promise((resolve) => setTimeout(resolve, 30));
  await peer.write(encode("ee\n"));
  assertEquals(await third, "three");
  assertEquals(await channel.receive(), undefined);
});

test("draining loses nothing of what is in the kernel, and ends at once where there is nothing", async () => {
  const [a, b] = await socketpair();
  await using peer = a;
  await using channel = messages(b, lines(), { draining: AbortSignal.abort() });
  await peer.write(encode("x\n".repeat(50_000)));
  assertEquals((await Array.fromAsync(channel)).length, 50_000);
});

test("draining lets a server's handlers end between two messages", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  const server = await serve(path, async (conn, { draining }) => {
    await using client = messages(conn, lines(), { draining });
    for await (const line of client) await client.send(line);
  });
  await using client = messages(await connect(path), lines());
  await client.send("hello");
  assertEquals(await client.receive(), "hello");
  assertEquals(await server.shutdown(), { completed: 1, aborted: 0 });
  assertEquals(await client.receive(), undefined);
});

// ---- Real connections -------------------------------------------------------------------------------------

test("messages() works over listen(), connect() and toConnection()", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  await using listener = await listen(path);
  for (
    const open of [
      () => connect(path),
      async () => toConnection(await Deno.connect({ transport: "unix", path })),
    ]
  ) {
    const [client, server] = await Promise.all([open(), listener.accept()]);
    await using ours = messages(client, json<number>(lines()));
    await using theirs = messages(server, json<number>(lines()));
    for (let i = 0; i < 5000; i++) ours.send(i);
    await ours.closeWrite();
    let next = 0;
    for await (const batch of theirs.batches()) {
      for (const value of batch) assertEquals(value, next++);
    }
    assertEquals(next, 5000);
  }
});

test("receive() gives what the peer sent before it reset the connection", async () => {
  const { b, ours, theirs } = await channels(lines());
  await theirs.send("last words");
  await theirs.flush();
  await ours.send("never read");
  await ours.flush();
  b.close();
  assertEquals(await ours.receive(), "last words");
  const error = await assertRejects(() => ours.receive(), Deno.errors.ConnectionReset);
  assertEquals(await ours.receive().catch((e) => e), error);
  ours.close();
});

test("a path is named in what send() says", async () => {
  await using dir = new TempDir();
  const path = dir.file("m.sock");
  await using listener = await listen(path);
  const channel = messages(await connect(path), lines());
  (await listener.accept()).close();
  channel.send("x");
  const error = await assertRejects(() => channel.flush(), Deno.errors.BrokenPipe);
  assertEquals(
    error.message,
    `Cannot send to "${path}": the peer has closed the connection, and 2 bytes of messages were ` +
      "not sent",
  );
  assertEquals((error as unknown as { path: string }).path, path);
  channel.close();
});

test("an idle channel holds no memory for what it sent", async () => {
  const all = await Promise.all(Array.from({ length: 50 }, () => channels(lengthPrefixed())));
  const before = Deno.memoryUsage().external;
  for (const { ours, theirs } of all) {
    ours.send(HELLO);
    assertEquals(await theirs.receive(), HELLO);
  }
  // A block of 64 KiB each would be 3 MiB; a chunk for reading has 16 KiB and a page.
  assert(Deno.memoryUsage().external - before < 50 * 32 * 1024 + 16 * 80 * 1024);
  for (const { ours, theirs } of all) {
    ours.close();
    theirs.close();
  }
});

// ---- Streams --------------------------------------------------------------------------------------------

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

test("decodeStream() fails with the error of what came, and of an end within a message", async () => {
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

test("decodeStream() refuses a chunk that is no Uint8Array", async () => {
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
  test(`messages() lets others have their turn while a peer floods ${name}`, async () => {
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
    // So many take a quarter of a millisecond.
    assert(most <= 64 * 1024, `${most} messages in one turn of the event loop`);
    assert(turns > 20, `${turns} turns`);
  });
}
