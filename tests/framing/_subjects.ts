/** The codecs under test, their possible messages, and naive decoders to compare them with. */

import { type Codec, contentLength, delimited, json, lengthPrefixed, lines, text } from "@uds/uds";
import fc from "fast-check";
import { pseudoRandom } from "../_helpers.ts";

/** Small, so that random lengths are often too large. */
const MAX_BYTES = 300;

/** How a sequence of bytes ends. */
export type Ending = "whole" | "malformed" | "too large" | "truncated";
export interface Outcome {
  values: unknown[];
  ending: Ending;
}

/** A codec, its possible messages, and a naive decoder to compare it with. */
export interface Subject {
  name: string;
  codec: Codec<unknown>;
  message: fc.Arbitrary<unknown>;
  expected(bytes: Uint8Array): Outcome;
}

// ---- Naive decoders -----------------------------------------------------------------------------

/** Splits bytes into frames. `next` returns a frame, or how the bytes end. */
function frames(
  bytes: Uint8Array,
  next: (rest: Uint8Array) => { frame: Uint8Array; size: number } | Ending,
): Outcome & { values: Uint8Array[] } {
  const values: Uint8Array[] = [];
  for (let rest = bytes;;) {
    if (rest.length === 0) return { values, ending: "whole" };
    const result = next(rest);
    if (typeof result === "string") return { values, ending: result };
    values.push(result.frame);
    rest = rest.subarray(result.size);
  }
}

function expectLengths(prefix: number, littleEndian: boolean, most = MAX_BYTES) {
  return (bytes: Uint8Array) =>
    frames(bytes, (rest) => {
      if (rest.length < prefix) return "truncated";
      const digits = rest.slice(0, prefix);
      if (littleEndian) digits.reverse();
      const size = digits.reduce((sum, digit) => sum * 256n + BigInt(digit), 0n);
      if (size > BigInt(most)) return "too large";
      const end = prefix + Number(size);
      if (rest.length < end) return "truncated";
      return { frame: rest.subarray(prefix, end), size: end };
    });
}

/** Reads a varint as its specification describes it, and returns its size too. */
function varint(bytes: Uint8Array): { value: bigint; size: number } | Ending {
  const last = bytes.findIndex((byte) => byte < 128);
  if (last > 9 || last < 0 && bytes.length > 9) return "malformed";
  if (last < 0) return "truncated";
  const groups = [...bytes.subarray(0, last + 1)].map((byte) => BigInt(byte & 127));
  return { value: groups.reduceRight((sum, group) => sum << 7n | group), size: last + 1 };
}

/** Expects what follows `offset` bytes and a length, which counts `-adjust` bytes more. */
function expectHeaders(
  lengthOf: (bytes: Uint8Array) => { value: bigint; size: number } | Ending,
  { offset = 0, adjust = 0, keepHeader = false },
) {
  return (bytes: Uint8Array) =>
    frames(bytes, (rest) => {
      const length = lengthOf(rest.subarray(offset));
      if (typeof length === "string") return length;
      const start = offset + length.size;
      const body = length.value + BigInt(adjust);
      if (body < 0n) return "malformed";
      if (body + BigInt(keepHeader ? start : 0) > BigInt(MAX_BYTES)) return "too large";
      const end = start + Number(body);
      if (rest.length < end) return "truncated";
      return { frame: rest.subarray(keepHeader ? 0 : start, end), size: end };
    });
}

/** Reads an integer of some bytes, as DataView would. */
function integerOf(size: number, littleEndian = false) {
  return (bytes: Uint8Array): { value: bigint; size: number } | Ending => {
    if (bytes.length < size) return "truncated";
    const digits = bytes.slice(0, size);
    if (littleEndian) digits.reverse();
    return { value: digits.reduce((sum, digit) => sum * 256n + BigInt(digit), 0n), size };
  };
}

/** Finds the first place of some bytes by looking at every place. */
function placeOf(bytes: Uint8Array, searched: Uint8Array): number {
  const places = [...Array(Math.max(0, bytes.length - searched.length + 1)).keys()];
  return places.find((at) => searched.every((byte, i) => bytes[at + i] === byte)) ?? -1;
}

function expectDelimiters(delimiter: Uint8Array) {
  return (bytes: Uint8Array) =>
    frames(bytes, (rest) => {
      const end = placeOf(rest, delimiter);
      if (end > MAX_BYTES) return "too large";
      if (end >= 0) return { frame: rest.subarray(0, end), size: end + delimiter.length };
      // The last bytes may begin the delimiter.
      let common = delimiter.length - 1;
      while (common > 0 && !rest.slice(-common).every((byte, i) => byte === delimiter[i])) common--;
      if (common > rest.length) common = 0;
      return rest.length - common > MAX_BYTES ? "too large" : "truncated";
    });
}

/** Expects all lines but those that are too long. */
function expectShortLines(bytes: Uint8Array): Outcome {
  const parts = latin1(bytes).split("\n");
  const last = parts.pop() as string;
  const values: unknown[] = [];
  for (const part of parts) {
    const line = part.replace(/\r$/, "");
    if (line.length > MAX_BYTES) continue;
    try {
      values.push(utf8(Uint8Array.from(line, (char) => char.charCodeAt(0))));
    } catch {
      return { values, ending: "malformed" };
    }
  }
  const isLong = last.replace(/\r$/, "").length > MAX_BYTES;
  return { values, ending: last === "" || isLong ? "whole" : "truncated" };
}

function latin1(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
}

function expectDelimiter(byte: number, most = MAX_BYTES) {
  return (bytes: Uint8Array) =>
    frames(bytes, (rest) => {
      const end = rest.indexOf(byte);
      if ((end < 0 ? rest.length : end) > most) return "too large";
      return end < 0 ? "truncated" : { frame: rest.subarray(0, end), size: end + 1 };
    });
}

function expectLines(bytes: Uint8Array, most = MAX_BYTES): Outcome {
  const split = frames(bytes, (rest) => {
    const end = rest.indexOf(10);
    let size = end < 0 ? rest.length : end;
    if (size > 0 && rest[size - 1] === 13) size--;
    if (size > most) return "too large";
    return end < 0 ? "truncated" : { frame: rest.subarray(0, size), size: end + 1 };
  });
  return mapped(split, utf8);
}

function expectContentLength(bytes: Uint8Array) {
  return frames(bytes, (rest) => {
    const head = new TextDecoder("latin1").decode(rest.subarray(0, 8192));
    // A bare line feed is refused where it stands, unless the headers end before it.
    const end = head.startsWith("\r\n") ? 0 : head.indexOf("\r\n\r\n");
    const bare = head.search(/(?<!\r)\n/);
    if (bare >= 0 && (end < 0 || bare < end)) return "malformed";
    if (end < 0) return rest.length > 8192 ? "too large" : "truncated";
    const size = end + (end === 0 ? 2 : 4);
    const lengths: string[] = [];
    for (const line of end === 0 ? [] : head.slice(0, end).split("\r\n")) {
      const colon = line.indexOf(":");
      const name = line.slice(0, Math.max(colon, 0));
      if (!/^[a-z0-9!#$%&'*+.^_`|~-]+$/i.test(name) || /[\r\n]/.test(line)) return "malformed";
      if (name.toLowerCase() !== "content-length") continue;
      lengths.push(line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, ""));
    }
    const [length] = lengths;
    if (lengths.length !== 1 || !/^[0-9]+$/.test(length!)) return "malformed";
    if (Number(length) > MAX_BYTES) return "too large";
    const whole = size + Number(length);
    return rest.length < whole ? "truncated" : { frame: rest.subarray(size, whole), size: whole };
  });
}

/** Maps frames to messages, up to the first frame that fails. */
function mapped({ values, ending }: Outcome, map: (value: never) => unknown): Outcome {
  const made: unknown[] = [];
  for (const value of values) {
    try {
      made.push(map(value as never));
    } catch {
      return { values: made, ending: "malformed" };
    }
  }
  return { values: made, ending };
}

function utf8(bytes: Uint8Array): string {
  return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
}

// ---- The codecs ---------------------------------------------------------------------------------

const bytesOf = fc.uint8Array({ maxLength: 60 });
const textOf = fc.string({ unit: "grapheme", maxLength: 15 });
const LIMIT = { maxBytes: MAX_BYTES };
const CRLF_CRLF = new TextEncoder().encode("\r\n\r\n");
/** A delimiter that begins as it ends. */
const PERIODIC = new Uint8Array([1, 1, 2, 1, 1]);

function subject<T>(
  name: string,
  codec: Codec<T>,
  message: fc.Arbitrary<T>,
  expected: (bytes: Uint8Array) => Outcome,
): Subject {
  return { name, codec: codec as Codec<unknown>, message, expected };
}

export const SUBJECTS: Subject[] = [
  subject("lengthPrefixed()", lengthPrefixed(LIMIT), bytesOf, expectLengths(4, false)),
  subject(
    "lengthPrefixed({ prefix: 1 })",
    lengthPrefixed({ prefix: 1, ...LIMIT }),
    bytesOf,
    expectLengths(1, false),
  ),
  subject(
    "lengthPrefixed({ prefix: 2, littleEndian: true })",
    lengthPrefixed({ prefix: 2, littleEndian: true, ...LIMIT }),
    bytesOf,
    expectLengths(2, true),
  ),
  subject(
    "lengthPrefixed({ prefix: 8 })",
    lengthPrefixed({ prefix: 8, ...LIMIT }),
    bytesOf,
    expectLengths(8, false),
  ),
  subject(
    "lengthPrefixed({ prefix: 3, littleEndian: true, adjust: 1 })",
    lengthPrefixed({ prefix: 3, littleEndian: true, adjust: 1, ...LIMIT }),
    fc.uint8Array({ minLength: 1, maxLength: 60 }),
    expectHeaders(integerOf(3, true), { adjust: 1 }),
  ),
  subject(
    'lengthPrefixed({ prefix: "varint" })',
    lengthPrefixed({ prefix: "varint", ...LIMIT }),
    fc.uint8Array({ maxLength: 200 }),
    expectHeaders(varint, {}),
  ),
  subject(
    "lengthPrefixed({ offset: 1, adjust: -4, keepHeader: true })",
    lengthPrefixed({ offset: 1, adjust: -4, keepHeader: true, ...LIMIT }),
    bytesOf.map((body) => new Uint8Array([body[0] ?? 0, 0, 0, 0, body.length + 4, ...body])),
    expectHeaders(integerOf(4), { offset: 1, adjust: -4, keepHeader: true }),
  ),
  subject(
    'lengthPrefixed({ prefix: "varint", offset: 1, keepHeader: true })',
    lengthPrefixed({ prefix: "varint", offset: 1, keepHeader: true, ...LIMIT }),
    bytesOf.map((body) => new Uint8Array([body[0] ?? 0, body.length, ...body])),
    expectHeaders(varint, { offset: 1, keepHeader: true }),
  ),
  subject(
    "delimited(CR LF CR LF)",
    delimited(CRLF_CRLF, LIMIT),
    // Any bytes before which no delimiter begins.
    fc.array(fc.constantFrom(13, 10, 65, 0), { maxLength: 40 })
      .map((bytes) => new Uint8Array(bytes))
      .filter((bytes) =>
        placeOf(new Uint8Array([...bytes, ...CRLF_CRLF]), CRLF_CRLF) === bytes.length
      ),
    expectDelimiters(CRLF_CRLF),
  ),
  subject(
    "delimited(1 1 2 1 1)",
    delimited(PERIODIC, LIMIT),
    fc.array(fc.constantFrom(1, 2, 3), { maxLength: 40 })
      .map((bytes) => new Uint8Array(bytes))
      .filter((bytes) =>
        placeOf(new Uint8Array([...bytes, ...PERIODIC]), PERIODIC) === bytes.length
      ),
    expectDelimiters(PERIODIC),
  ),
  subject(
    'lines({ tooLong: "skip" })',
    lines({ tooLong: "skip", ...LIMIT }),
    textOf.map((value) => value.replaceAll("\n", "␤").replace(/\r$/, "␍")),
    expectShortLines,
  ),
  subject(
    "delimited(0)",
    delimited(0, LIMIT),
    bytesOf.map((bytes) => bytes.map((byte) => byte || 1)),
    expectDelimiter(0),
  ),
  subject(
    "lines()",
    lines(LIMIT),
    textOf.map((value) => value.replaceAll("\n", "␤").replace(/\r$/, "␍")),
    (bytes) => expectLines(bytes),
  ),
  subject("contentLength()", contentLength(LIMIT), bytesOf, expectContentLength),
  subject(
    "text(lengthPrefixed({ prefix: 2 }))",
    text(lengthPrefixed({ prefix: 2, ...LIMIT })),
    textOf,
    (bytes) => mapped(expectLengths(2, false)(bytes), utf8),
  ),
  subject(
    "json(lines())",
    json(lines(LIMIT)),
    fc.jsonValue({ maxDepth: 2 }).filter(fits),
    (bytes) => mapped(expectLines(bytes), JSON.parse),
  ),
  subject(
    "json(contentLength())",
    json(contentLength(LIMIT)),
    fc.jsonValue({ maxDepth: 2 }).filter(fits),
    (bytes) => mapped(expectContentLength(bytes), (frame) => JSON.parse(utf8(frame))),
  ),
];

/** Bytes of about the sizes of a read, of a block that is written, and of the kernel's buffer. */
const largeBytes = fc.record({
  size: fc.constantFrom(0, 1, 5_000, 16_384, 65_535, 65_536, 70_000, 150_000, 300_000),
  less: fc.nat(9),
}).map(({ size, less }) => pseudoRandom(Math.max(0, size - less), size).map((byte) => byte || 1));
const LARGE_LIMIT = { maxBytes: 300_000 };

/** Codecs with messages that take several reads and writes. */
export const LARGE_SUBJECTS: Subject[] = [
  subject(
    "lengthPrefixed() of large messages",
    lengthPrefixed(LARGE_LIMIT),
    largeBytes,
    expectLengths(4, false, LARGE_LIMIT.maxBytes),
  ),
  subject(
    "delimited(0) of large messages",
    delimited(0, LARGE_LIMIT),
    largeBytes,
    expectDelimiter(0, LARGE_LIMIT.maxBytes),
  ),
  subject(
    "lines() of large messages",
    lines(LARGE_LIMIT),
    largeBytes.map((bytes) => "x".repeat(bytes.length)),
    (bytes) => expectLines(bytes, LARGE_LIMIT.maxBytes),
  ),
];

function fits(value: unknown): boolean {
  return new TextEncoder().encode(JSON.stringify(value)).length <= MAX_BYTES;
}
