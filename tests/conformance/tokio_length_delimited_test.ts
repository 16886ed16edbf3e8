/** The behaviors of tokio-util's tests of `LengthDelimitedCodec`. */

import {
  encodeStream,
  lengthPrefixed,
  type LengthPrefixedOptions,
  messages,
  MessageTooLarge,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { concat, decoded, encoded, hex, Pieces, unhex } from "../framing/_framing.ts";
import { decode, encode, isPending, turn } from "../_helpers.ts";
import { follows } from "./_follows.ts";

/** Defines a test that follows one of tokio-util's. */
function frames(name: string, behavior: string, fn: () => Promise<void> | void): void {
  follows(`tokio-util length_delimited: ${name}`, behavior, fn);
}

/** Returns the texts of the messages of some bytes, which end between two messages. */
async function texts(
  options: LengthPrefixedOptions,
  ...pieces: (string | Uint8Array)[]
): Promise<string[]> {
  const bytes = pieces.map((piece) => typeof piece === "string" ? unhex(piece) : piece);
  const { values, error } = await decoded(lengthPrefixed(options), ...bytes);
  assertEquals(error, undefined);
  return values.map(decode);
}

/** Returns the error that ends some bytes, after no message. */
async function failure(options: LengthPrefixedOptions, ...pieces: string[]): Promise<unknown> {
  const { values, error } = await decoded(lengthPrefixed(options), ...pieces.map(unhex));
  assertEquals(values, []);
  return error;
}

const NINE = hex(encode("abcdefghi"));
const THREE = hex(encode("123"));
const ELEVEN = hex(encode("hello world"));
const ALL = ["abcdefghi", "123", "hello world"];

frames("read_empty_io_yields_nothing", "lengthPrefixed() decodes nothing of no bytes", async () => {
  assertEquals(await texts({}), []);
});

for (
  const [name, behavior, options, pieces, values] of [
    ["read_single_frame_one_packet", "a message", {}, [`00000009 ${NINE}`], ["abcdefghi"]],
    [
      "read_single_frame_one_packet_little_endian",
      "a message, the lowest byte first",
      { littleEndian: true },
      [`09000000 ${NINE}`],
      ["abcdefghi"],
    ],
    [
      "read_single_multi_frame_one_packet",
      "three messages in one read",
      {},
      [`00000009 ${NINE} 00000003 ${THREE} 0000000b ${ELEVEN}`],
      ALL,
    ],
    [
      "read_single_frame_multi_packet",
      "a message in three reads",
      {},
      ["0000", "0009 616263", "646566676869"],
      ["abcdefghi"],
    ],
    [
      "read_multi_frame_multi_packet",
      "three messages in reads that split lengths and messages",
      {},
      ["0000", "0009 616263", "646566676869", "00000003 3132", `33 0000000b ${ELEVEN}`],
      ALL,
    ],
    ["read_one_byte_length_field", "a length of one byte", { prefix: 1 }, [`09 ${NINE}`], [
      "abcdefghi",
    ]],
    [
      "read_single_multi_frame_one_packet_skip_none_adjusted",
      "a header of two bytes before the length, which stays in the message",
      { prefix: 2, offset: 2, keepHeader: true },
      [`7878 0009 ${NINE} 7979 0003 ${THREE} 7a7a 000b ${ELEVEN}`],
      ["xx\0\tabcdefghi", "yy\0\x03123", "zz\0\vhello world"],
    ],
    [
      "read_single_frame_length_adjusted",
      "a byte behind the length that it does not count",
      { prefix: 3, adjust: 1 },
      [`00000b 0c ${ELEVEN}`],
      ["\fhello world"],
    ],
    [
      "read_single_multi_frame_one_packet_length_includes_head",
      "a length that counts itself",
      { prefix: 2, adjust: -2 },
      [`000b ${NINE} 0005 ${THREE} 000d ${ELEVEN}`],
      ALL,
    ],
  ] as [string, string, LengthPrefixedOptions, string[], string[]][]
) {
  frames(name, `lengthPrefixed() decodes ${behavior}`, async () => {
    assertEquals(await texts(options, ...pieces), values);
    const each = [...unhex(pieces.join(""))].map((byte) => Uint8Array.of(byte));
    assertEquals(await texts(options, ...each), values);
  });
}

frames(
  "read_header_offset",
  "lengthPrefixed() refuses to drop the bytes before the length, decided otherwise",
  async () => {
    // tokio drops them without a word. They say what the message is, so they stay in it.
    assertThrows(() => lengthPrefixed({ prefix: 2, offset: 4 }), TypeError, "keepHeader");
    const options: LengthPrefixedOptions = { prefix: 2, offset: 4, keepHeader: true };
    assertEquals(await texts(options, `7a7a7a7a 0009 ${NINE}`), ["zzzz\0\tabcdefghi"]);
  },
);

/** A channel that reads its parts when the test likes. */
class Live {
  readonly #stream = new TransformStream<Uint8Array, Uint8Array>();
  readonly #writer = this.#stream.writable.getWriter();
  readonly #reader = this.#stream.readable.getReader();

  push(bytes: string): void {
    this.#writer.write(unhex(bytes));
  }

  end(): void {
    this.#writer.close();
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const { value, done } = await this.#reader.read();
    if (done) return null;
    buffer.set(value);
    return value.length;
  }

  write(data: Uint8Array): Promise<number> {
    return Promise.resolve(data.length);
  }
}

frames(
  "read_multi_frame_multi_packet_wait",
  "receive() waits for the rest of a message, for the next one, and for the end",
  async () => {
    const live = new Live();
    const channel = messages(live, lengthPrefixed());
    for (const parts of [["0000", "0009 616263", "646566676869"], ["00000003 3132", "33"]]) {
      const receiving = channel.receive();
      for (const part of parts) {
        assert(await isPending(receiving));
        live.push(part);
      }
      assert(ALL.includes(decode((await receiving)!)));
    }
    const last = channel.receive();
    assert(await isPending(last));
    live.end();
    assertEquals(await last, undefined);
  },
);

for (
  const [name, behavior, ...pieces] of [
    ["read_incomplete_head", "within the length", "0000"],
    ["read_incomplete_head_multi", "within the length, which came in parts", "00", "00"],
    ["read_incomplete_payload", "within a message", "00000009 6162", "6364"],
  ] as [string, string, ...string[]][]
) {
  frames(name, `receive() rejects if the end comes ${behavior}`, async () => {
    const error = await failure({}, ...pieces);
    assertInstanceOf(error, TruncatedMessage);
  });
}

frames("read_max_frame_len", "receive() rejects a message above the limit", async () => {
  const error = await failure({ maxBytes: 5 }, `00000009 ${NINE}`);
  assertInstanceOf(error, MessageTooLarge);
  assertEquals([error.size, error.limit], [9, 5]);
});

frames(
  "read_update_max_frame_len_at_rest",
  "detach() between two messages: the next codec has another limit",
  async () => {
    const bytes = unhex(`00000009 ${NINE} 00000009 ${NINE}`);
    const first = messages(new Pieces(bytes), lengthPrefixed());
    assertEquals(decode((await first.receive())!), "abcdefghi");
    const second = messages(first.detach(), lengthPrefixed({ maxBytes: 5 }));
    await assertRejects(() => second.receive(), MessageTooLarge);
  },
);

frames(
  "read_update_max_frame_len_in_flight",
  "detach() within a message: the next codec gets it from its beginning, decided otherwise",
  async () => {
    // In tokio the old limit holds for it. Ours has no state within a message that could be kept.
    const live = new Live();
    const first = messages(live, lengthPrefixed());
    const receiving = assertRejects(() => first.receive(), Deno.errors.BadResource);
    live.push("00000009 61626364");
    for (let i = 0; i < 5; i++) await turn();
    const second = messages(first.detach(), lengthPrefixed({ maxBytes: 5 }));
    await receiving;
    live.push("6566676869");
    await assertRejects(() => second.receive(), MessageTooLarge);
  },
);

for (
  const [name, behavior, options, texts, bytes] of [
    ["write_single_frame_one_packet", "a message", {}, ["abcdefghi"], `00000009 ${NINE}`],
    ["write_single_frame_length_adjusted", "a length that is adjusted", { adjust: -2 }, [
      "abcdefghi",
    ], `0000000b ${NINE}`],
    [
      "write_single_multi_frame_one_packet",
      "three messages",
      {},
      ALL,
      `00000009 ${NINE} 00000003 ${THREE} 0000000b ${ELEVEN}`,
    ],
    [
      "write_single_frame_little_endian",
      "the lowest byte first",
      { littleEndian: true },
      ["abcdefghi"],
      `09000000 ${NINE}`,
    ],
    ["write_single_frame_with_short_length_field", "a length of one byte", { prefix: 1 }, [
      "abcdefghi",
    ], `09 ${NINE}`],
  ] as [string, string, LengthPrefixedOptions, string[], string][]
) {
  frames(name, `lengthPrefixed() encodes ${behavior}`, async () => {
    const sent = await encoded(lengthPrefixed(options), ...texts.map(encode));
    assertEquals(hex(sent), hex(unhex(bytes)));
  });
}

frames("write_nothing_yields_nothing", "flush() without a message writes nothing", async () => {
  const conn = new Pieces();
  const channel = messages(conn, lengthPrefixed());
  await channel.flush();
  assertEquals(conn.written, []);
});

frames(
  "write_single_multi_frame_multi_packet",
  "flush() after each message writes each by itself",
  async () => {
    const conn = new Pieces();
    const channel = messages(conn, lengthPrefixed());
    for (const each of ALL) {
      await channel.send(encode(each));
      await channel.flush();
    }
    assertEquals(conn.written.map(hex), [
      hex(unhex(`00000009 ${NINE}`)),
      hex(unhex(`00000003 ${THREE}`)),
      hex(unhex(`0000000b ${ELEVEN}`)),
    ]);
  },
);

frames(
  "write_single_frame_would_block",
  "flush() goes on with what a channel did not take, until everything is written",
  async () => {
    const taken: number[] = [];
    const written: Uint8Array[] = [];
    const sizes = [2, 2, 9];
    const conn = {
      read: () => Promise.resolve(null),
      async write(data: Uint8Array) {
        await turn();
        const size = sizes[taken.length] ?? data.length;
        taken.push(size);
        written.push(data.slice(0, size));
        return size;
      },
    };
    const channel = messages(conn, lengthPrefixed());
    await channel.send(encode("abcdefghi"));
    await channel.flush();
    assertEquals([taken, hex(concat(...written))], [sizes, hex(unhex(`00000009 ${NINE}`))]);
  },
);

frames("write_max_frame_len", "send() rejects a message above the limit", async () => {
  const conn = new Pieces();
  const channel = messages(conn, lengthPrefixed({ maxBytes: 5 }));
  await assertRejects(() => channel.send(encode("abcdef")), MessageTooLarge);
  await channel.send(encode("abcde"));
  await channel.flush();
  assertEquals(decode(conn.bytes), "\0\0\0\x05abcde");
});

frames(
  "write_update_max_frame_len_in_flight",
  "detach() while a message waits: it leaves whole, and the next codec has another limit",
  async () => {
    const conn = new Pieces();
    const first = messages(conn, lengthPrefixed());
    await first.send(encode("abcdef"));
    const second = messages(first.detach(), lengthPrefixed({ maxBytes: 5 }));
    await assertRejects(() => second.send(encode("abcdef")), MessageTooLarge);
    await second.send(encode("abc"));
    await second.flush();
    assertEquals(decode(conn.bytes), "\0\0\0\x06abcdef\0\0\0\x03abc");
  },
);

frames("write_zero", "flush() rejects if a channel takes no byte", async () => {
  const conn = { read: () => Promise.resolve(null), write: () => Promise.resolve(0) };
  const channel = messages(conn, lengthPrefixed());
  await channel.send(encode("abcdef"));
  await assertRejects(() => channel.flush(), Error, "0");
});

frames("encode_overflow", "encodeStream() grows for a message that does not fit", async () => {
  const sizes = [1024, 5, 65_530, 7, 200_000];
  const stream = ReadableStream.from(sizes.map((size) => new Uint8Array(size)))
    .pipeThrough(encodeStream(lengthPrefixed()));
  const bytes = await new Response(stream).bytes();
  const { values } = await decoded(lengthPrefixed(), bytes);
  assertEquals(values.map(({ length }) => length), sizes);
});

for (
  const [name, options, limit] of [
    ["frame_does_not_fit", { prefix: 1, maxBytes: 256 }, 255],
    ["neg_adjusted_frame_does_not_fit", { prefix: 1, adjust: -1 }, 254],
    ["pos_adjusted_frame_does_not_fit", { prefix: 1, adjust: 1 }, 256],
    ["smaller_frame_len_not_adjusted", { prefix: 8, maxBytes: 10 }, 10],
  ] as [string, LengthPrefixedOptions, number][]
) {
  frames(name, `lengthPrefixed() has no limit above what its length holds: ${limit}`, async () => {
    const codec = lengthPrefixed(options);
    assertEquals(codec.maxBytes, limit);
    // Only the largest message has the largest length, and a larger one appends nothing.
    const conn = new Pieces();
    const channel = messages(conn, codec);
    await assertRejects(() => channel.send(new Uint8Array(limit + 1)), MessageTooLarge);
    await channel.send(new Uint8Array(limit));
    await channel.flush();
    assertEquals(conn.bytes.length, (options.prefix as number) + limit);
  });
}

frames(
  "max_allowed_frame_fits, max_allowed_length_field",
  "lengthPrefixed() has a limit of 4 GiB at most, decided otherwise",
  () => {
    // No message of more can be held in one Uint8Array on every system.
    assertEquals(lengthPrefixed({ prefix: 8, maxBytes: 2 ** 32 }).maxBytes, 2 ** 32);
    assertThrows(() => lengthPrefixed({ prefix: 8, maxBytes: 2 ** 32 + 1 }), RangeError);
  },
);
