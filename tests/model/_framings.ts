/** The framings of random courses: messages to choose from, with their bytes. */

import type { ByteWriter, Codec } from "@uds/uds";
import fc from "fast-check";
import { encode } from "../_helpers.ts";
import { concat } from "../framing/_framing.ts";
import { LARGE_SUBJECTS, type Outcome, SUBJECTS } from "../framing/_subjects.ts";

/** A message, and the bytes that carry it. */
export interface Sample {
  value: unknown;
  bytes: Uint8Array;
}

/** A codec with messages, and a naive decoder to compare it with. */
export interface Framing {
  name: string;
  codec: Codec<unknown>;
  samples: Sample[];
  expected(bytes: Uint8Array): Outcome;
}

/** The simplest writer, which copies everything. */
class NaiveWriter implements ByteWriter {
  readonly #parts: Uint8Array[] = [];

  byte(value: number): void {
    this.bytes(new Uint8Array([value]));
  }

  uint32(value: number, littleEndian = false): void {
    new DataView(this.reserve(4).buffer).setUint32(0, value, littleEndian);
  }

  bytes(data: Uint8Array): void {
    this.#parts.push(data.slice());
  }

  text(value: string): number {
    const bytes = encode(value);
    this.#parts.push(bytes);
    return bytes.length;
  }

  reserve(size: number): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(size);
    this.#parts.push(bytes);
    return bytes;
  }

  get all(): Uint8Array {
    return concat(...this.#parts);
  }
}

function bytesOf(codec: Codec<unknown>, value: unknown): Uint8Array {
  const writer = new NaiveWriter();
  codec.encode(value, writer);
  return writer.all;
}

/** A message that is skipped leaves no trace, so its codec is tested elsewhere. */
const small = SUBJECTS.filter(({ codec }) => codec.skip === undefined);

export const FRAMINGS: Framing[] = [...small, ...LARGE_SUBJECTS].map((subject) => {
  const { name, codec, message, expected } = subject;
  const values = fc.sample(message, { seed: 1, numRuns: 40 });
  const samples = values.map((value) => ({ value, bytes: bytesOf(codec, value) }));
  return { name, codec, samples, expected };
});

/** The number of framings with small messages, which come first. */
export const SMALL_FRAMINGS: number = small.length;
