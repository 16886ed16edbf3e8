/** What the codecs share: their limit, their checks and their errors. */

import { MessageTooLarge, TruncatedMessage } from "../../errors.ts";
import type { Codec } from "../../framing/codec.ts";
import { type Check, integer, show } from "../base/check.ts";

/** The default of `maxBytes`. */
export const MAX_BYTES: number = 16 * 1024 * 1024;

/** The largest `maxBytes`, 4 GiB: far more than a process can keep twice, as decoding may have to. */
const MAX_BUFFER_BYTES = 2 ** 32;

/**
 * The largest `maxBytes` of a text: the longest string of V8, whose characters may have one byte each
 * (v8-primitive.h, `String::kMaxLength` on 64 bits).
 */
export const MAX_TEXT_BYTES: number = 2 ** 29 - 24;

/** Returns a check that accepts a limit that a message can reach. */
export function maxBytesUpTo(most: number = MAX_BUFFER_BYTES): Check {
  return integer(1, most);
}

/** Throws unless a string can hold every message of the frames. */
export function checkTextFrames({ maxBytes }: Codec<unknown>): void {
  if (maxBytes <= MAX_TEXT_BYTES) return;
  throw new RangeError(
    `Invalid frames: their maxBytes is ${maxBytes}, and a string has at most ${MAX_TEXT_BYTES} ` +
      `characters. Set a smaller maxBytes`,
  );
}

/** What is refused because of its size. */
export function tooLarge(
  operation: "encode" | "decode",
  size: number,
  limit: number,
  what = "it",
  least = false,
): MessageTooLarge {
  return new MessageTooLarge(
    `Cannot ${operation} a message: ${what} has ${
      least ? "more than " : ""
    }${size} bytes, and the ` +
      `limit is ${limit}`,
    { operation, path: null, size, limit },
  );
}

/** What a peer sent that is no message. */
export function malformed(state: string, cause?: unknown): Error {
  const error = new Deno.errors.InvalidData(`Cannot decode a message: ${state}`, { cause });
  return Object.assign(error, { operation: "decode", path: null });
}

/** The end of file within a message. */
export function truncated(rest: Uint8Array, needed?: number): TruncatedMessage {
  const whole = needed === undefined ? "" : ` of its ${needed}`;
  return new TruncatedMessage(
    `Cannot decode the last message: the end of file came after ${rest.length}${whole} bytes`,
    { operation: "decode", path: null, rest },
  );
}

/** Refuses a message that is no bytes. */
export function checkBytes(message: unknown): asserts message is Uint8Array {
  if (!(message instanceof Uint8Array)) {
    throw new TypeError(
      `Invalid message: expected a Uint8Array, got ${show(message)}` +
        (typeof message === "string" ? ". Wrap the codec: text(…)" : ""),
    );
  }
}

/** Refuses a message that is no string. */
export function checkString(message: unknown): asserts message is string {
  if (typeof message !== "string") {
    throw new TypeError(`Invalid message: expected a string, got ${show(message)}`);
  }
}

/** Refuses what is no codec. */
export function checkCodec(name: string, codec: unknown): void {
  const { encode, decode, maxBytes } = (codec ?? {}) as Partial<Codec<unknown>>;
  if (
    typeof encode !== "function" || typeof decode !== "function" ||
    typeof maxBytes !== "number" || Number.isNaN(maxBytes)
  ) {
    throw new TypeError(
      `Invalid ${name}: expected a codec with encode, decode and maxBytes, got ${show(codec)}`,
    );
  }
}

/** Takes all frames, and makes a message of each, also of those before one that is refused. */
export function decodeAllWith<F, T>(
  frames: Codec<F>,
  bytes: Uint8Array,
  scanned: number,
  messages: T[],
  decode: (frame: F) => T,
): number {
  if (frames.decodeAll === undefined) return 0;
  const found: F[] = [];
  try {
    return frames.decodeAll(bytes, scanned, found);
  } finally {
    for (const frame of found) messages.push(decode(frame));
  }
}
