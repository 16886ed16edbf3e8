/**
 * Random messages, cut and read in any way, and random damage. Every codec is compared with a naive
 * decoder that has all bytes at once.
 *
 * UDS_CASES sets the number of cases over all codecs (4,000 by default). UDS_SEED sets the seed: a
 * failure prints its own.
 */

import {
  type Codec,
  decodeStream,
  encodeStream,
  messages,
  MessageTooLarge,
  TruncatedMessage,
} from "@uds/uds";
import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import fc from "fast-check";
import { test } from "../_helpers.ts";
import { type Ending, type Outcome, type Subject, SUBJECTS } from "./_subjects.ts";

const CASES = Number(Deno.env.get("UDS_CASES") ?? 4000);
const SEED = Number(Deno.env.get("UDS_SEED") ?? Math.floor(Math.random() * 2 ** 31));
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
  assert((error as Error).message.startsWith("Cannot decode a message from the peer: "));
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
      ...new TextEncoder().encode('\0\x01\x02\n\r{}[],:"0159Ca-ent L\xc3'),
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

  // It would skip the message for as long as it comes.
  if (codec.skip !== undefined) continue;

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
      if (name.includes("prefix: 1") || name.includes("varint") && byte < 128) continue;
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
