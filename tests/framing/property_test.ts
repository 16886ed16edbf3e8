/**
 * Random messages, cut and read in any way, and random damage. Every codec is compared with a naive
 * decoder that has all bytes at once.
 *
 * UDS_CASES sets the number of cases over all codecs (4,000 by default). UDS_SEED sets the seed: a
 * failure prints its own.
 */

import {
  type Codec,
  contentLength,
  decodeStream,
  delimited,
  encodeStream,
  json,
  lengthPrefixed,
  lines,
  messages,
  MessageTooLarge,
  text,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import fc from "fast-check";
import { test } from "../_helpers.ts";

const CASES = Number(Deno.env.get("UDS_CASES") ?? 4000);
const SEED = Number(Deno.env.get("UDS_SEED") ?? Math.floor(Math.random() * 2 ** 31));
/** Small, so that random lengths are often too large. */
const MAX_BYTES = 300;

/** How a sequence of bytes ends. */
type Ending = "whole" | "malformed" | "too large" | "truncated";
interface Outcome {
  values: unknown[];
  ending: Ending;
}

/** A codec, its possible messages, and a naive decoder to compare it with. */
interface Subject {
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

function expectLengths(prefix: number, littleEndian: boolean) {
  return (bytes: Uint8Array) =>
    frames(bytes, (rest) => {
      if (rest.length < prefix) return "truncated";
      const digits = rest.slice(0, prefix);
      if (littleEndian) digits.reverse();
      const size = digits.reduce((sum, digit) => sum * 256n + BigInt(digit), 0n);
      if (size > BigInt(MAX_BYTES)) return "too large";
      const end = prefix + Number(size);
      if (rest.length < end) return "truncated";
      return { frame: rest.subarray(prefix, end), size: end };
    });
}

function expectDelimiter(byte: number) {
  return (bytes: Uint8Array) =>
    frames(bytes, (rest) => {
      const end = rest.indexOf(byte);
      if ((end < 0 ? rest.length : end) > MAX_BYTES) return "too large";
      return end < 0 ? "truncated" : { frame: rest.subarray(0, end), size: end + 1 };
    });
}

function expectLines(bytes: Uint8Array): Outcome {
  const split = frames(bytes, (rest) => {
    const end = rest.indexOf(10);
    let size = end < 0 ? rest.length : end;
    if (size > 0 && rest[size - 1] === 13) size--;
    if (size > MAX_BYTES) return "too large";
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

function subject<T>(
  name: string,
  codec: Codec<T>,
  message: fc.Arbitrary<T>,
  expected: (bytes: Uint8Array) => Outcome,
): Subject {
  return { name, codec: codec as Codec<unknown>, message, expected };
}

const SUBJECTS: Subject[] = [
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
    "delimited(0)",
    delimited(0, LIMIT),
    bytesOf.map((bytes) => bytes.map((byte) => byte || 1)),
    expectDelimiter(0),
  ),
  subject(
    "lines()",
    lines(LIMIT),
    textOf.map((value) => value.replaceAll("\n", "␤").replace(/\r$/, "␍")),
    expectLines,
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

function fits(value: unknown): boolean {
  return new TextEncoder().encode(JSON.stringify(value)).length <= MAX_BYTES;
}

// ---- Channels in memory -------------------------------------------------------------------------

/** Delivers bytes in pieces of the given sizes, repeated, some of them after a delay. */
class Source {
  readonly #bytes: Uint8Array;
  readonly #cuts: number[];
  #at = 0;
  #reads = 0;

  constructor(bytes: Uint8Array, cuts: number[]) {
    this.#bytes = bytes;
    this.#cuts = cuts.length === 0 ? [bytes.length] : cuts;
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const cut = this.#cuts[this.#reads++ % this.#cuts.length]!;
    for (let i = 0; i < cut % 4; i++) await null;
    if (this.#at === this.#bytes.length) return null;
    const piece = this.#bytes.subarray(this.#at, this.#at + Math.min(cut, buffer.length));
    buffer.set(piece);
    this.#at += piece.length;
    return piece.length;
  }

  write(data: Uint8Array): Promise<number> {
    return Promise.resolve(data.length);
  }
}

/** Takes at most a given number of bytes of each write. */
class Sink {
  readonly #parts: Uint8Array[] = [];
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  read(): Promise<null> {
    return Promise.resolve(null);
  }

  async write(data: Uint8Array): Promise<number> {
    await null;
    const part = data.slice(0, this.#most);
    this.#parts.push(part);
    return part.length;
  }

  get bytes(): Uint8Array {
    return new Uint8Array(this.#parts.flatMap((part) => [...part]));
  }
}

async function encodeAll({ codec }: Subject, values: unknown[], most: number): Promise<Uint8Array> {
  const sink = new Sink(most);
  const channel = messages(sink, codec);
  for (const [i, value] of values.entries()) {
    const sending = channel.send(value);
    if (i % 3 === most % 3) await sending;
  }
  await channel.flush();
  return sink.bytes;
}

/** A way to receive. */
type Way = "receive" | "iterate" | "batch" | "abort" | "pause";
const ways = fc.array(
  fc.constantFrom<Way>("receive", "iterate", "batch", "abort", "pause"),
  { maxLength: 20 },
);

/** Receives in the given ways, several at once between pauses, and then all that is left. */
async function receiveAll(codec: Codec<unknown>, source: Source, plan: Way[]): Promise<Outcome> {
  const channel = messages(source, codec);
  const found: Promise<unknown[]>[] = [];
  let failure: unknown;
  const take = (getting: Promise<unknown[]>) =>
    found.push(getting.catch((error) => {
      if (!(error instanceof DOMException)) failure = error;
      return [];
    }));
  for (const way of plan) {
    if (way === "pause") {
      await Promise.all(found);
    } else if (way === "receive") {
      take(channel.receive().then((value) => value === undefined ? [] : [value]));
    } else if (way === "abort") {
      const controller = new AbortController();
      const receiving = channel.receive({ signal: controller.signal });
      take(receiving.then((value) => value === undefined ? [] : [value]));
      queueMicrotask(() => controller.abort());
    } else if (way === "iterate") {
      const next = channel[Symbol.asyncIterator]().next();
      take(next.then(({ value, done }) => done ? [] : [value]));
    } else {
      const next = channel.batches()[Symbol.asyncIterator]().next();
      take(next.then(({ value, done }) => {
        assert(done || value.length > 0, "an empty batch");
        return done ? [] : value;
      }));
    }
  }
  await Promise.all(found);
  for (let go = failure === undefined; go;) {
    take(
      channel.receive().then((value) => {
        go = value !== undefined;
        return value === undefined ? [] : [value];
      }),
    );
    await found.at(-1);
    if (failure !== undefined) go = false;
  }
  const values = (await Promise.all(found)).flat();
  if (failure === undefined) return { values, ending: "whole" };
  return { values, ending: endingOf(failure) };
}

function endingOf(error: unknown): Ending {
  if (error instanceof MessageTooLarge) return "too large";
  if (error instanceof TruncatedMessage) return "truncated";
  assertInstanceOf(error, Deno.errors.InvalidData);
  assert((error as Error).message.startsWith("Cannot decode a message: "));
  return "malformed";
}

// ---- Properties ---------------------------------------------------------------------------------

const cuts = fc.array(fc.integer({ min: 1, max: 40 }), { maxLength: 12 });

/** What happens to bytes on their way. */
type Damage = { kind: "set" | "insert" | "remove" | "cut"; place: number; byte: number };
const damage = fc.record<Damage>({
  kind: fc.constantFrom("set", "insert", "remove", "cut"),
  place: fc.double({ min: 0, max: 1, noNaN: true }),
  byte: fc.oneof(fc.constantFrom(0, 10, 13, 32, 45, 48, 57, 58, 255), fc.nat(255)),
});

function damaged(bytes: Uint8Array, { kind, place, byte }: Damage): Uint8Array {
  const at = Math.floor(place * (bytes.length + 1));
  const [head, tail] = [[...bytes.subarray(0, at)], [...bytes.subarray(at)]];
  if (kind === "cut") return new Uint8Array(head);
  if (kind !== "insert") tail.shift();
  return new Uint8Array([...head, ...(kind === "remove" ? [] : [byte]), ...tail]);
}

async function check<T extends unknown[]>(
  share: number,
  property: fc.IAsyncProperty<T>,
): Promise<void> {
  const numRuns = Math.max(10, Math.ceil(CASES * share / SUBJECTS.length));
  await fc.assert(property, { numRuns, seed: SEED });
}

for (const each of SUBJECTS) {
  const { name, codec, message, expected } = each;
  const options = { deadline: 600_000 };

  test(`${name} carries any messages, however they are cut and received`, async () => {
    await check(
      0.4,
      fc.asyncProperty(
        fc.array(message, { maxLength: 12 }),
        cuts,
        ways,
        fc.integer({ min: 1, max: 100 }),
        async (values, sizes, plan, most) => {
          const bytes = await encodeAll(each, values, most);
          const outcome = await receiveAll(codec, new Source(bytes, sizes), plan);
          assertEquals(outcome, { values, ending: "whole" });
        },
      ),
    );
  }, options);

  test(`${name} decodes damaged bytes as the naive decoder does`, async () => {
    await check(
      0.3,
      fc.asyncProperty(
        fc.array(message, { maxLength: 6 }),
        fc.array(damage, { minLength: 1, maxLength: 3 }),
        cuts,
        ways,
        async (values, damages, sizes, plan) => {
          const bytes = damages.reduce(damaged, await encodeAll(each, values, 1000));
          const outcome = await receiveAll(codec, new Source(bytes, sizes), plan);
          assertEquals(outcome, expected(bytes));
        },
      ),
    );
  }, options);

  test(`${name} decodes random bytes as the naive decoder does`, async () => {
    // Half of them from an alphabet that often means something.
    const alphabet = fc.constantFrom(
      ...new TextEncoder().encode('\0\x01\n\r{}[],:"0159Ca-ent L\xc3'),
    );
    const garbage = fc.oneof(
      fc.uint8Array({ maxLength: 400 }),
      fc.array(alphabet, { maxLength: 400 }).map((bytes) => new Uint8Array(bytes)),
    );
    await check(
      0.2,
      fc.asyncProperty(garbage, cuts, ways, async (bytes, sizes, plan) => {
        const outcome = await receiveAll(codec, new Source(bytes, sizes), plan);
        assertEquals(outcome, expected(bytes));
      }),
    );
  }, options);

  test(`${name} carries any messages through its Web streams`, async () => {
    await check(
      0.1,
      fc.asyncProperty(fc.array(message, { maxLength: 12 }), cuts, async (values, sizes) => {
        const bytes = ReadableStream.from(values).pipeThrough(encodeStream(codec));
        const source = new Source(new Uint8Array(await new Response(bytes).arrayBuffer()), sizes);
        const pieces = new ReadableStream<Uint8Array>({
          async pull(controller) {
            const buffer = new Uint8Array(100);
            const count = await source.read(buffer);
            if (count === null) controller.close();
            else controller.enqueue(buffer.subarray(0, count));
          },
        });
        assertEquals(await Array.fromAsync(pieces.pipeThrough(decodeStream(codec))), values);
      }),
    );
  }, options);

  test(`${name} stops waiting for a peer that never ends a message`, async () => {
    for (const byte of name.includes("ength") ? [255, 65] : [65]) {
      let given = 0;
      const channel = messages({
        read(buffer) {
          buffer.fill(byte);
          given += buffer.length;
          return Promise.resolve(buffer.length);
        },
        write: (data) => Promise.resolve(data.length),
      }, codec);
      let failure: unknown;
      for (let i = 0; failure === undefined && i < 1_000_000; i++) {
        await channel.receive().catch((error) => failure = error);
      }
      // Every length of one byte is valid.
      if (name.includes("prefix: 1")) continue;
      assert(["too large", "malformed"].includes(endingOf(failure)), String(failure));
      assert(given <= 64 * 1024, `${given} bytes were read`);
    }
  });
}

test("a property that does not hold is reported with its seed", async () => {
  const failing = fc.asyncProperty(fc.nat(), (n) => Promise.resolve(n < 5));
  const error = await fc.assert(failing, { seed: 42 }).catch((error) => error);
  assert(error.message.includes("seed: 42"), error.message);
});
