/**
 * The limits, checks and errors that the codecs share, and codecs over the frames of another one.
 */

import { MessageTooLarge, TruncatedMessage } from "../../errors.ts";
import type { Codec, TextCodec } from "../../framing/codec.ts";
import { type Check, integer, show } from "../base/check.ts";
import { checkAttached } from "../base/lasting_buffer.ts";
import { causeOf, readThrown } from "../base/thrown.ts";

/** The default of `maxBytes`. */
export const MAX_BYTES: number = 16 * 1024 * 1024;

/** The largest `maxBytes`, 4 GiB. Decoding may need that much memory twice. */
const MAX_BUFFER_BYTES = 2 ** 32;

/**
 * The longest string of V8 (v8-primitive.h, `String::kMaxLength` on 64 bits), if each character is
 * one byte.
 */
export const MAX_TEXT_BYTES: number = 2 ** 29 - 24;

/** Returns a check that accepts a limit that a message can reach. */
export function maxBytesUpTo(most: number = MAX_BUFFER_BYTES): Check {
  return integer(1, most);
}

/** Throws unless the value is a codec. */
export function checkCodec(name: string, codec: unknown): void {
  const { encode, decode, maxBytes } = (codec ?? {}) as Partial<Codec<unknown, never>>;
  if (
    typeof encode === "function" && typeof decode === "function" &&
    typeof maxBytes === "number" && !Number.isNaN(maxBytes)
  ) return;
  throw new TypeError(
    `Invalid ${name}: expected a codec with encode, decode and maxBytes, got ${show(codec)}`,
  );
}

/** Throws unless `frames` is a codec, and a string can hold each of its messages. */
export function checkTextFrames(frames: Codec<unknown, never>): void {
  checkCodec("frames", frames);
  if (frames.maxBytes <= MAX_TEXT_BYTES) return;
  throw new RangeError(
    `Invalid frames: their maxBytes is ${frames.maxBytes}, and a string has at most ` +
      `${MAX_TEXT_BYTES} characters. Set a smaller maxBytes`,
  );
}

/**
 * Throws unless the message is bytes, and not more than `maxBytes`.
 *
 * @param remedy What allows a larger one.
 */
export function checkBytes(
  message: unknown,
  maxBytes: number = Infinity,
  remedy?: string,
): asserts message is Uint8Array {
  if (!(message instanceof Uint8Array)) {
    const remedy = typeof message === "string" ? ". Wrap the codec: text(…)" : "";
    throw new TypeError(`Invalid message: expected a Uint8Array, got ${show(message)}${remedy}`);
  }
  checkAttached("message", message);
  if (message.length > maxBytes) {
    throw tooLarge("encode", message.length, maxBytes, undefined, remedy);
  }
}

/** Throws unless the message is a string. */
export function checkString(message: unknown): asserts message is string {
  if (typeof message !== "string") {
    throw new TypeError(`Invalid message: expected a string, got ${show(message)}`);
  }
}

/** The maker of each error of decoding. */
const makers = new WeakMap<object, (from: string, path: string | null) => Error>();

/**
 * Returns an error of decoding, which a codec makes without knowing the peer.
 *
 * @param make Makes it, for a message `from` a peer.
 */
function decodeError<E extends Error>(
  make: (from: string, path: string | null) => E,
  from = "",
  path: string | null = null,
): E {
  const error = make(from, path);
  readThrown(() => Error.captureStackTrace(error, decodeError), undefined);
  makers.set(error, make);
  return error;
}

/**
 * Returns an error of decoding that names the peer, and its path. Other values stay as they are.
 *
 * @param peer The peer, as a message names it. Without one, the error names none.
 */
export function errorFrom(error: unknown, peer?: string, path?: string | null): unknown {
  const make = makers.get(error as object);
  if (make === undefined) return error;
  const named = decodeError(make, peer && ` from ${peer}`, path);
  readThrown(() => takeStack(named, error as Error), undefined);
  return named;
}

/** Sets the stack of an error that was made again: the first one has the place of the failure. */
function takeStack(again: Error, { stack, message }: Error): void {
  if (typeof stack === "string") again.stack = stack.replace(message, () => again.message);
}

/**
 * Returns the error for a message that exceeds its limit.
 *
 * @param has What has so many bytes.
 * @param remedy What allows a larger one.
 */
export function tooLarge(
  operation: "encode" | "decode",
  size: number,
  limit: number,
  has = "it has",
  remedy = "Raise maxBytes of the codec",
): MessageTooLarge {
  const make = (from: string, path: string | null) =>
    new MessageTooLarge(
      `Cannot ${operation} a message${from}: ${has} ${size} bytes, and the limit is ${limit}. ` +
        remedy,
      { operation, path, size, limit },
    );
  return operation === "decode" ? decodeError(make) : make("", null);
}

/** Returns the error for bytes that are not a message. */
export function malformed(state: string, cause?: unknown): Error {
  return decodeError((from, path) => {
    const message = `Cannot decode a message${from}: ${state}`;
    const error = new Deno.errors.InvalidData(message, causeOf({ cause }));
    return Object.assign(error, { operation: "decode", path });
  });
}

/** Returns the error for bytes that other code has detached, with an earlier message. */
export function memoryLost(): Error {
  return decodeError((from, path) => {
    const state = "its memory was detached with that of an earlier one";
    const message =
      `Cannot decode a message${from}: ${state}. Transfer a copy of a message instead`;
    return Object.assign(new TypeError(message), { operation: "decode", path });
  });
}

/**
 * Returns the error for an end of file within a message.
 *
 * @param needed The number of bytes of the whole message, if it is known.
 * @param remedy What allows such an end, if anything does.
 */
export function truncated(rest: Uint8Array, needed?: number, remedy?: string): TruncatedMessage {
  const whole = needed === undefined ? "" : ` of its ${needed}`;
  const state = `the end of file came after ${rest.length}${whole} bytes`;
  return decodeError((from, path) =>
    new TruncatedMessage(
      `Cannot decode the last message${from}: ${state}${remedy === undefined ? "" : `. ${remedy}`}`,
      { operation: "decode", path, rest },
    )
  );
}

/** What a codec of `json()` is made of. */
export interface JsonParts {
  readonly frames: TextCodec | Codec<Uint8Array>;
  readonly parse: ((value: unknown) => unknown) | undefined;
}

/** The parts of each codec of `json()`: a reader of frames can go on after one that is not JSON. */
export const jsonParts: WeakMap<object, JsonParts> = new WeakMap();

/**
 * How messages share memory with the bytes that a codec gets: not at all, as a `Uint8Array` that is
 * a view of them, or by views anywhere inside.
 */
export type Contents = "none" | "bytes" | "views";

const contents = new WeakMap<object, Contents>();

/** Notes how the messages of a codec share memory. Returns the codec. */
export function withContents<C extends object>(codec: C, what: Contents): C {
  contents.set(codec, what);
  return codec;
}

/** Returns how the messages of a codec share memory. */
export function contentsOf(codec: object): Contents {
  return contents.get(codec) ?? "views";
}

/** The codecs of `lines()`, which have an end also after bytes that are not UTF-8. */
export const lineCodecs: WeakSet<TextCodec> = new WeakSet();

/** Returns a codec that makes its messages from the frames of another one. */
export function overFrames<F, In, Out>(
  frames: Codec<F, never>,
  encode: Codec<In, Out>["encode"],
  decodeFrame: (frame: F) => In,
): Codec<In, Out> {
  return {
    maxBytes: frames.maxBytes,
    encode,
    decode(bytes, scanned) {
      const found = frames.decode(bytes, scanned);
      if (typeof found !== "object") return found;
      return { message: decodeFrame(found.message), end: found.end };
    },
    decodeAll(bytes, scanned, messages) {
      if (frames.decodeAll === undefined) return 0;
      const found: F[] = [];
      try {
        return frames.decodeAll(bytes, scanned, found);
      } finally {
        // Also the frames before one that is refused.
        for (const frame of found) messages.push(decodeFrame(frame));
      }
    },
    ...(frames.skip !== undefined && {
      skip: (bytes, skipped) => frames.skip!(bytes, skipped),
    }),
    ...(frames.finish !== undefined && { finish: (rest) => decodeFrame(frames.finish!(rest)) }),
  };
}
