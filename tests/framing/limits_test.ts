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
import { assertEquals, assertInstanceOf, assertRejects, assertThrows } from "@std/assert";
import { encode, test } from "../_helpers.ts";

/** The longest string of V8. */
const LONGEST_TEXT = 2 ** 29 - 24;
const LARGEST_BUFFER = 2 ** 32;

const OF_BYTES: Record<string, (maxBytes: number) => Codec<Uint8Array>> = {
  "lengthPrefixed()": (maxBytes) => lengthPrefixed({ prefix: 8, maxBytes }),
  "delimited()": (maxBytes) => delimited(0, { maxBytes }),
  "contentLength()": (maxBytes) => contentLength({ maxBytes }),
};

for (const [name, codec] of Object.entries(OF_BYTES)) {
  test(`${name} refuses a maxBytes above 4 GiB`, () => {
    assertEquals(codec(LARGEST_BUFFER).maxBytes, LARGEST_BUFFER);
    assertThrows(
      () => codec(LARGEST_BUFFER + 1),
      RangeError,
      "Invalid maxBytes: expected a whole number of at least 1 and at most 4294967296",
    );
  });

  test(`text(${name}) and json(${name}) refuse frames that no string can hold`, () => {
    const frames = codec(LONGEST_TEXT + 1);
    for (const wrap of [text, json]) {
      assertEquals(wrap(codec(LONGEST_TEXT)).maxBytes, LONGEST_TEXT);
      assertThrows(
        () => wrap(frames),
        RangeError,
        "Invalid frames: their maxBytes is 536870889, and a string has at most 536870888 characters",
      );
    }
  });
}

test("lines() refuses a maxBytes that no string can hold", () => {
  assertEquals(lines({ maxBytes: LONGEST_TEXT }).maxBytes, LONGEST_TEXT);
  assertThrows(
    () => lines({ maxBytes: LONGEST_TEXT + 1 }),
    RangeError,
    "Invalid maxBytes: expected a whole number of at least 1 and at most 536870888",
  );
});

test("the longest string has 536,870,888 characters", () => {
  assertEquals("a".repeat(LONGEST_TEXT).length, LONGEST_TEXT);
  assertThrows(() => "a".repeat(LONGEST_TEXT + 1), RangeError);
});

const LAST_LINES: [what: string, bytes: string, lines: string[]][] = [
  ["keeps a carriage return at the end of file", "a\r", ["a\r"]],
  ["keeps only that one", "a\r\nb\r", ["a", "b\r"]],
  ["keeps all of several", "a\r\r", ["a\r\r"]],
  ["takes one alone for a line", "a\n\r", ["a", "\r"]],
  ["ends the last line at CR LF", "a\r\n", ["a"]],
];

for (const [what, bytes, expected] of LAST_LINES) {
  test(`lines({ allowUnterminated: true }) ${what}, wherever the bytes are split`, async () => {
    for (let split = 0; split <= bytes.length; split++) {
      const [a, b] = await socketpair();
      await using receiver = messages(b, lines({ allowUnterminated: true }));
      const received = Array.fromAsync(receiver);
      {
        using sender = a;
        await sender.write(encode(bytes.slice(0, split)));
        await sender.write(encode(bytes.slice(split)));
      }
      assertEquals(await received, expected);
    }
  });
}

test("lines({ allowUnterminated: true }) counts that carriage return", async () => {
  const [a, b] = await socketpair();
  await using receiver = messages(b, lines({ maxBytes: 2, allowUnterminated: true }));
  {
    using sender = a;
    await sender.write(encode("ab\r\nab\r"));
  }
  assertEquals(await receiver.receive(), "ab");
  const error = await assertRejects(() => receiver.receive(), MessageTooLarge);
  assertInstanceOf(error, MessageTooLarge);
  assertEquals([error.size, error.limit], [3, 2]);
});
