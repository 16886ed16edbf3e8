import {
  type ByteWriter,
  type Codec,
  contentLength,
  delimited,
  json,
  lengthPrefixed,
  lines,
  messages,
  MessageTooLarge,
  text,
} from "@uds/uds";
import { assert, assertEquals, assertRejects } from "@std/assert";
import { encode, test } from "../_helpers.ts";
import {
  type AnyCodec,
  concat,
  EMPTY,
  encoded,
  equalBytes,
  type ErrorClass,
  HELLO,
  hex,
  LIMIT,
  Pieces,
  unhex,
} from "./_framing.ts";

const cycle: unknown[] = [];

cycle.push(cycle);

const cyclic = { b: {} as Record<string, unknown> };

cyclic.b.c = cyclic.b;

const REFUSED: [string, AnyCodec, unknown, ErrorClass, string][] = [
  ["a text", lengthPrefixed(), "x", TypeError, 'got "x". Wrap the codec: text(…)'],
  ["an array", lengthPrefixed(), [1], TypeError, "expected a Uint8Array, got an array"],
  [
    "bytes above the limit",
    lengthPrefixed(LIMIT),
    HELLO,
    MessageTooLarge,
    "5 bytes, and the limit is 4. Raise maxBytes of the codec",
  ],
  [
    "bytes above the prefix",
    lengthPrefixed({ prefix: 1 }),
    new Uint8Array(256),
    MessageTooLarge,
    "255",
  ],
  ["the delimiter", delimited(108), HELLO, RangeError, "it has the delimiter, 108, at byte 2"],
  [
    "a delimiter of several bytes",
    delimited(encode("ll")),
    HELLO,
    RangeError,
    "it has the delimiter, 108 108, at byte 2",
  ],
  [
    "bytes that end with a part of the delimiter",
    delimited(encode("\n\n")),
    encode("a\n"),
    RangeError,
    "its end begins the delimiter, 10 10, at byte 1",
  ],
  [
    "bytes above the limit",
    delimited(0, LIMIT),
    HELLO,
    MessageTooLarge,
    "5 bytes, and the limit is 4. Raise maxBytes of the codec",
  ],
  [
    "bytes above the limit with their header",
    lengthPrefixed({ prefix: 1, keepHeader: true, ...LIMIT }),
    HELLO,
    MessageTooLarge,
    "5 bytes",
  ],
  [
    "bytes without their header",
    lengthPrefixed({ offset: 1, keepHeader: true }),
    new Uint8Array(4),
    RangeError,
    "its 4 bytes are less than its header",
  ],
  [
    "bytes for a length below 0",
    lengthPrefixed({ adjust: 1 }),
    EMPTY,
    RangeError,
    "its length cannot be -1",
  ],
  [
    "bytes above what the prefix can count",
    lengthPrefixed({ prefix: 1, adjust: -4 }),
    new Uint8Array(252),
    MessageTooLarge,
    "252 bytes, and the limit is 251. Choose a larger prefix",
  ],
  ["a line feed", lines(), "a\nb", RangeError, "it has a line feed at 1"],
  ["a carriage return at the end", lines(), "a\r", RangeError, "it ends with a carriage return"],
  ["a lone surrogate", lines(), "\uD800", TypeError, "the text has a lone surrogate"],
  [
    "a line above the limit",
    lines(LIMIT),
    "grün",
    MessageTooLarge,
    "5 bytes, and the limit is 4. Raise maxBytes of the codec",
  ],
  ["a number", lines(), 1, TypeError, "expected a string, got 1"],
  ["a lone surrogate", text(delimited(0)), "\uDC00", TypeError, "lone surrogate"],
  ["the delimiter", text(delimited(0)), "a\0", RangeError, "delimiter"],
  [
    "bytes above the limit",
    contentLength(LIMIT),
    HELLO,
    MessageTooLarge,
    "5 bytes, and the limit is 4. Raise maxBytes of the codec",
  ],
  [
    "undefined",
    json(lines()),
    undefined,
    TypeError,
    "Cannot encode a message: undefined has no JSON. ",
  ],
  ["a function", json(lines()), () => {}, TypeError, "a function has no JSON"],
  ["a symbol", json(lines()), Symbol("s"), TypeError, "Symbol(s) has no JSON"],
  [
    "a BigInt",
    json(lines()),
    1n,
    TypeError,
    "Cannot encode a message: a BigInt has no JSON. Make it a number or a string",
  ],
  [
    "a BigInt inside",
    json(lengthPrefixed()),
    { n: 1, a: [{ "b c": { d: 1 } }, { "b c": { d: 1n } }], z: 0 },
    TypeError,
    'Cannot encode a message: the BigInt at .a[1]["b c"].d has no JSON',
  ],
  [
    "a promise",
    json(lines()),
    Promise.resolve(1),
    TypeError,
    "Cannot encode a message: a promise has no JSON. Await it first",
  ],
  [
    "a promise inside",
    json(lengthPrefixed()),
    { "{}": {}, a: [{}, Promise.resolve(1)] },
    TypeError,
    "Cannot encode a message: the promise at .a[1] has no JSON",
  ],
  [
    "a promise of toJSON()",
    json(lines()),
    { at: new Date(0), a: { toJSON: () => Promise.resolve(1) } },
    TypeError,
    "Cannot encode a message: the promise at .a has no JSON",
  ],
  [
    "a generator",
    json(lines()),
    (function* () {})(),
    TypeError,
    "Cannot encode a message: a generator has no JSON. Make an array of its values",
  ],
  [
    "an async generator inside",
    json(lines()),
    { a: (async function* () {})() },
    TypeError,
    "Cannot encode a message: the generator at .a has no JSON",
  ],
  [
    "a cycle",
    json(lines()),
    cycle,
    TypeError,
    "Cannot encode a message: [0] is a circular reference to the whole message. Leave it out",
  ],
  [
    "a cycle inside",
    json(text(contentLength())),
    { twice: [cycle.length, EMPTY, EMPTY], a: cyclic },
    TypeError,
    "Cannot encode a message: .a.b.c is a circular reference to .a.b. Leave it out",
  ],
  [
    "a value above the limit",
    json(lines(LIMIT)),
    "abc",
    MessageTooLarge,
    "5 bytes, and the limit is 4. Raise maxBytes of the codec",
  ],
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
    await assertRejects(() => channel.send(value), Class, state);
    const good = [EMPTY, new Uint8Array(4), new Uint8Array(5), "", 1].find((each) => {
      try {
        codec.encode(each, NOWHERE);
        return true;
      } catch {
        return false;
      }
    });
    await channel.send(good);
    await channel.flush();
    assertEquals(hex(conn.bytes), hex(await encoded(codec, good)));
  });
}

test("send() appends nothing of a message if its codec throws, however much it had appended", async () => {
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

test("ByteWriter.reserve() returns zeros, also where the memory was used before", async () => {
  const codec: Codec<number> = {
    maxBytes: 100,
    encode: (size, out) => void out.reserve(size),
    decode: () => undefined,
  };
  // Fill and free some blocks.
  await encoded(lengthPrefixed(), ...Array(8).fill(new Uint8Array(60_000).fill(255)));
  assertEquals(await encoded(codec, 1000), new Uint8Array(1000));
});

test("ByteWriter.uint32() appends four bytes in either order, also across blocks", async () => {
  const codec: Codec<number> = {
    maxBytes: 100,
    encode(value, out) {
      out.uint32(value);
      out.uint32(value, true);
      // Shift the place of the next one in its block.
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
  test(`send() refuses a codec if its encode() makes ${what}, and appends nothing`, async () => {
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

test("json() keeps an error of toJSON(), and the cause of an error that it makes", async () => {
  const channel = messages(new Pieces(), json(lines()));
  const failure = new RangeError("not today");
  const failing = {
    a: 1,
    toJSON() {
      throw failure;
    },
  };
  assertEquals(await assertRejects(() => channel.send({ failing }), RangeError), failure);
  const { cause } = await assertRejects(() => channel.send([1n]), TypeError, "at [0] has no JSON");
  assert(cause instanceof TypeError && cause.message.includes("BigInt"));
});

const TOO_LARGE: [name: string, codec: Codec<unknown, never>, message: unknown][] = [
  ["lines()", lines(LIMIT), "12345"],
  ["json()", json(lines(LIMIT)), 12345],
  ["text()", text(delimited(0, LIMIT)), "12345"],
  ["delimited()", delimited(0, LIMIT), new Uint8Array(5)],
  ["lengthPrefixed()", lengthPrefixed(LIMIT), new Uint8Array(5)],
  ["lengthPrefixed() of one byte", lengthPrefixed({ prefix: 1, ...LIMIT }), new Uint8Array(5)],
  ["contentLength()", contentLength(LIMIT), new Uint8Array(5)],
];
for (const [name, codec, message] of TOO_LARGE) {
  test(`${name} names maxBytes when a message is too large to be sent`, async () => {
    await using channel = messages(new Pieces(), codec);
    const error = await assertRejects(() => channel.send(message as never), MessageTooLarge);
    assertEquals(
      error.message,
      "Cannot encode a message: it has 5 bytes, and the limit is 4. Raise maxBytes of the codec",
    );
    assertEquals([error.operation, error.path], ["encode", null]);
  });
}
