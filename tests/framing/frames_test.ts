import {
  type Codec,
  contentLength,
  json,
  lengthPrefixed,
  lines,
  text,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { encode, test } from "../_helpers.ts";
import { decoded, encoded, FRAMES, hex, slow, unhex } from "./_framing.ts";

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

  test(`${name} reports an end within a message, with the part that came`, async () => {
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

test("contentLength() skips other headers, and ignores the case of names", async () => {
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

test("contentLength() needs no more time for a header block that is full of blanks", () => {
  const blanks = " \t".repeat(4000);
  const begin = performance.now();
  assertThrows(
    () => contentLength().decode(encode(`A:${blanks}\rx\r\n\r\n`), 0),
    Deno.errors.InvalidData,
    "is not a header",
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
  // It once took minutes.
  assert(performance.now() - begin < 1000);
});

test("text() is not disturbed by its frames encoding a text themselves", async () => {
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
