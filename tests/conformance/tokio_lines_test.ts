/** The behaviors of tokio-util's tests of `LinesCodec`, `AnyDelimiterCodec` and `BytesCodec`. */

import { type Codec, delimited, lines, MessageTooLarge, text, TruncatedMessage } from "@uds/uds";
import { assertEquals, assertInstanceOf } from "@std/assert";
import { concat, decoded, encoded, unhex } from "../framing/_framing.ts";
import { decode, encode } from "../_helpers.ts";
import { follows } from "./_follows.ts";

/** Defines a test of a codec that follows one of tokio-util's. */
function codecs(name: string, behavior: string, fn: () => Promise<void>): void {
  follows(`tokio-util codecs: ${name}`, behavior, fn);
}

/** Returns `lines()` that skips, and the sizes of what it has skipped. */
function skippingLines(maxBytes: number): [codec: Codec<string>, skipped: number[]] {
  const skipped: number[] = [];
  const onSkip = ({ size }: MessageTooLarge) => void skipped.push(size);
  return [lines({ maxBytes, tooLong: "skip", onSkip, allowUnterminated: true }), skipped];
}

codecs("lines_decoder", "lines() ends lines at LF and at CR LF", async () => {
  const bytes = encode("line 1\nline 2\r\nline 3\n\r\n\rk");
  assertEquals(await decoded(lines({ allowUnterminated: true }), bytes), {
    values: ["line 1", "line 2", "line 3", "", "\rk"],
  });
});

codecs(
  "lines_decoder",
  "lines() keeps a carriage return before the end of file, decided otherwise",
  async () => {
    // tokio drops it. It may be a part of the last line, and no byte should get lost.
    const codec = lines({ allowUnterminated: true });
    assertEquals(await decoded(codec, encode("a\n\r")), { values: ["a", "\r"] });
  },
);

codecs(
  "lines_decoder",
  "lines() takes a last line without an end only if it is asked to, decided otherwise",
  async () => {
    // tokio always does. A peer that was killed within a line would then send half a message.
    const { values, error } = await decoded(lines(), encode("whole\nhal"));
    assertEquals(values, ["whole"]);
    assertInstanceOf(error, TruncatedMessage);
  },
);

codecs(
  "lines_decoder_invalid_utf8",
  "lines() refuses a line that is not UTF-8, also at the end of file",
  async () => {
    for (const end of ["", "0a"]) {
      const bytes = concat(encode("line 1\nline"), unhex(`c3 28 ${end}`));
      const { values, error } = await decoded(lines({ allowUnterminated: true }), bytes);
      assertEquals(values, ["line 1"]);
      assertInstanceOf(error, Deno.errors.InvalidData);
    }
  },
);

codecs("lines_decoder_max_length", "lines() skips what is too long, and goes on", async () => {
  const [codec, skipped] = skippingLines(6);
  const bytes = encode("line 1 is too long\nline 2\nline 3\r\nline 4\n\r\n\rk");
  // tokio counts the carriage return of "line 3" as well, and skips it. It belongs to the end.
  const values = ["line 2", "line 3", "line 4", "", "\rk"];
  assertEquals(await decoded(codec, bytes), { values });
  assertEquals(skipped, [18]);
});

codecs(
  "lines_decoder_max_length",
  "lines() refuses one byte too many, without an end",
  async () => {
    const { values, error } = await decoded(lines({ maxBytes: 6 }), encode("aaabbbc"));
    assertEquals(values, []);
    assertInstanceOf(error, MessageTooLarge);
  },
);

codecs(
  "lines_decoder_max_length_underrun",
  "lines() skips a line that becomes too long part by part",
  async () => {
    const [codec, skipped] = skippingLines(6);
    const pieces = ["line ", "too l", "ong\n", "line 2", "\n"].map(encode);
    assertEquals(await decoded(codec, ...pieces), { values: ["line 2"] });
    assertEquals(skipped, [13]);
  },
);

codecs(
  "lines_decoder_max_length_bursts",
  "lines() skips a line that is too long only with its last part",
  async () => {
    const [codec, skipped] = skippingLines(10);
    assertEquals(await decoded(codec, ...["line ", "too l", "ong\n"].map(encode)), { values: [] });
    assertEquals(skipped, [13]);
  },
);

codecs(
  "lines_decoder_max_length_big_burst",
  "lines() skips a line if its end comes with the bytes that are too many",
  async () => {
    const [codec, skipped] = skippingLines(10);
    assertEquals(await decoded(codec, ...["line ", "too long!\n"].map(encode)), { values: [] });
    assertEquals(skipped, [14]);
  },
);

codecs(
  "lines_decoder_max_length_newline_between_decodes",
  "lines() takes a line of exactly the limit, and its end comes later",
  async () => {
    const [codec, skipped] = skippingLines(5);
    const pieces = ["hello", "\nworld", "\n"].map(encode);
    assertEquals(await decoded(codec, ...pieces), { values: ["hello", "world"] });
    assertEquals(skipped, []);
  },
);

codecs(
  "lines_decoder_discard_repeat",
  "lines() goes on skipping a line without an end, and reports it once",
  async () => {
    const [codec, skipped] = skippingLines(1);
    assertEquals(await decoded(codec, ...["aa", "a", "a"].map(encode)), { values: [] });
    assertEquals(skipped, [4]);
  },
);

codecs(
  "lines_decoder_max_length_underrun_twice",
  "lines() skips a line of many parts, and takes the short one behind it",
  async () => {
    const [codec, skipped] = skippingLines(11);
    const pieces = ["line ", "too very l", "a".repeat(23), "ong\nshort\n"].map(encode);
    assertEquals(await decoded(codec, ...pieces), { values: ["short"] });
    assertEquals(skipped, [41]);
  },
);

codecs("lines_encoder", "lines() ends each line that it sends with LF", async () => {
  assertEquals(decode(await encoded(lines(), "line 1", "line 2")), "line 1\nline 2\n");
});

/**
 * Returns a codec that ends messages at any of some bytes. The library has none: a message that
 * holds another one of these bytes would come back as two.
 */
function anyDelimiter(
  ends: Uint8Array,
  sequence: Uint8Array,
  maxBytes = Infinity,
): Codec<Uint8Array> & { skipped: number } {
  const endOf = (bytes: Uint8Array, from = 0) =>
    bytes.findIndex((byte, i) => i >= from && ends.includes(byte));
  const tooLarge = (size: number) =>
    new MessageTooLarge(`${size} bytes`, {
      operation: "decode",
      path: null,
      size,
      limit: maxBytes,
    });
  return {
    maxBytes: Math.min(maxBytes, 2 ** 20),
    skipped: 0,
    encode(message, out) {
      out.bytes(message);
      out.bytes(sequence);
    },
    decode(bytes, scanned) {
      const end = endOf(bytes, scanned);
      const size = end < 0 ? bytes.length : end;
      if (size > maxBytes) throw tooLarge(size);
      return end < 0 ? undefined : { message: bytes.subarray(0, end), end: end + 1 };
    },
    finish: (rest) => rest,
    skip(bytes) {
      const end = endOf(bytes);
      if (end < 0 && bytes.length > 0) return undefined;
      this.skipped++;
      return end + 1;
    },
  };
}

const ANY = encode(",;\n\r");

/** Returns the texts that a codec of any delimiter decodes, and how many it skips. */
async function chunks(
  maxBytes: number | undefined,
  ...pieces: string[]
): Promise<[values: string[], skipped: number]> {
  const codec = anyDelimiter(ANY, encode(","), maxBytes);
  const { values, error } = await decoded(codec, ...pieces.map(encode));
  assertEquals(error, undefined);
  return [values.map(decode), codec.skipped];
}

codecs(
  "any_delimiters_decoder_any_character",
  "A codec of one's own ends messages at any of several bytes, and at the end of file",
  async () => {
    assertEquals(
      await chunks(undefined, "chunk 1,chunk 2;chunk 3\n\r", "k"),
      [["chunk 1", "chunk 2", "chunk 3", "", "k"], 0],
    );
  },
);

codecs(
  "any_delimiters_decoder_max_length",
  "A codec of one's own skips what is too long, and goes on",
  async () => {
    const bytes = "chunk 1 is too long\nchunk 2\nchunk 3\r\nchunk 4\n\r\n";
    assertEquals(
      await chunks(7, bytes, "k"),
      [["chunk 2", "chunk 3", "", "chunk 4", "", "", "k"], 1],
    );
  },
);

for (
  const [name, maxBytes, pieces, values, skipped] of [
    ["underrun", 7, ["chunk ", "too l", "ong\n", "chunk 2", ","], ["chunk 2"], 1],
    ["underrun_twice", 11, ["chunk ", "too very l", "a".repeat(23), "ong\nshort\n"], ["short"], 1],
    ["bursts", 11, ["chunk ", "too l", "ong\n"], [], 1],
    ["big_burst", 11, ["chunk ", "too long!\n"], [], 1],
    ["delimiter_between_decodes", 5, ["hello", ",world"], ["hello", "world"], 0],
  ] as const
) {
  codecs(
    `any_delimiter_decoder_max_length_${name}`,
    `A codec of one's own skips chunks that are too long: ${name.replaceAll("_", " ")}`,
    async () => assertEquals(await chunks(maxBytes, ...pieces), [[...values], skipped]),
  );
}

codecs(
  "any_delimiter_decoder_discard_repeat",
  "A codec of one's own goes on skipping a chunk without an end",
  async () => assertEquals(await chunks(1, "aa", "a"), [[], 1]),
);

codecs("any_delimiter_encoder", "delimited() sends several bytes behind each message", async () => {
  const codec = text(delimited(encode(";--;")));
  assertEquals(decode(await encoded(codec, "chunk 1", "chunk 2")), "chunk 1;--;chunk 2;--;");
});

codecs(
  "any_delimiter_decoder_max_length_delimiter_between_decodes",
  "delimited() takes a message of exactly the limit, and its delimiter comes later",
  async () => {
    const codec = text(delimited(encode(";--;"), { maxBytes: 5 }));
    const pieces = ["hello", ";-", "-;world;--", ";"].map(encode);
    assertEquals(await decoded(codec, ...pieces), { values: ["hello", "world"] });
  },
);

codecs(
  "any_delimiter_decoder_max_length",
  "delimited() ends receiving at a message that is too large, decided otherwise",
  async () => {
    // Only a collector of lines can do without a message. A protocol is out of step after one.
    const codec = text(delimited(encode(","), { maxBytes: 7 }));
    const { values, error } = await decoded(codec, encode("chunk 1,chunk 2 is too long,chunk 3,"));
    assertEquals(values, ["chunk 1"]);
    assertInstanceOf(error, MessageTooLarge);
  },
);

/** A codec that takes the bytes as they come. */
const BYTES: Codec<Uint8Array> = {
  maxBytes: 2 ** 20,
  encode: (message, out) => out.bytes(message),
  decode: (bytes) => ({ message: bytes, end: bytes.length }),
};

codecs("bytes_decoder", "A codec of one's own passes bytes on as they come", async () => {
  const { values } = await decoded(BYTES, encode("abc"), encode("a"));
  assertEquals(values.map(decode), ["abc", "a"]);
});

codecs("bytes_encoder", "A codec of one's own sends messages of any size in order", async () => {
  const sizes = [1, 31, 32, 8 * 1024 + 1, 64 * 1024, 200_000];
  const messages = sizes.map((size, i) => new Uint8Array(size).fill(i));
  assertEquals(await encoded(BYTES, ...messages), concat(...messages));
});
