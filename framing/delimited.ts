import { checked } from "../_internal/base/caller_stack.ts";
import {
  checkBytes,
  MAX_BYTES,
  maxBytesUpTo,
  tooLarge,
  withContents,
} from "../_internal/messages/codec_support.ts";
import {
  checkArguments,
  checkInteger,
  checkOptions,
  type Checks,
  show,
} from "../_internal/base/check.ts";
import type { Codec } from "./codec.ts";

/**
 * Options of {@linkcode delimited}.
 *
 * @category Messages
 */
export interface DelimitedOptions {
  /**
   * The maximum number of bytes of a message, without its delimiter.
   *
   * @default {16 MiB}
   */
  maxBytes?: number | undefined;
}

/** The delimiters of protocols are far shorter. */
const MAX_DELIMITER_BYTES = 256;

const CHECKS: Checks<DelimitedOptions> = { maxBytes: maxBytesUpTo() };

/**
 * Frames messages by a delimiter at the end of each: a byte such as 0, or several bytes.
 *
 * ```text
 * 68 65 6c 6c 6f  00      "hello", delimited by 0
 * └── message ──┘ └┘
 * 00                      the empty message
 *
 * 68 69  0d 0a 0d 0a      "hi", delimited by an empty line: the head of an HTTP message
 * └────┘ └delimiter┘
 * ```
 *
 * - **Content**: any bytes without the delimiter, or none. `send` throws `RangeError` if the
 *   receiver would find the delimiter too early: within the message, or across its end, as in `x-`
 *   before `--`.
 * - **A received message** is a view of the memory that it was read into.
 * - **Too large**: `MessageTooLarge`, from `send`, and from `receive` as soon as more bytes have
 *   come without the delimiter.
 * - **Cut short**, before the end of the delimiter: `TruncatedMessage` with the bytes that came.
 * - For text that ends with a line feed, use {@linkcode lines}.
 *
 * @param delimiter A byte from 0 to 255, or 1 to 256 bytes. They are copied.
 * @param options The limit.
 * @returns The codec.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the delimiter is not a byte, or has no bytes or too many, or `maxBytes`
 * is not a whole number from 1 to 2^32.
 *
 * @example Usage
 * ```ts
 * import { delimited, messages, socketpair, text } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = await socketpair();
 * await using sender = messages(a, text(delimited(0)));
 * await using receiver = messages(b, text(delimited(0)));
 * await sender.send("two\nlines");
 * assertEquals(await receiver.receive(), "two\nlines");
 * ```
 *
 * @category Messages
 */
export function delimited(
  delimiter: number | Uint8Array,
  options: DelimitedOptions = {},
): Codec<Uint8Array> {
  const end = checked(delimited, () => {
    checkArguments("delimited", arguments, 2, "delimited(delimiter, { maxBytes })");
    checkOptions("delimited", options, CHECKS);
    return bytesOf(delimiter);
  });
  const { maxBytes = MAX_BYTES } = options;
  const findSeveral = finderOf(end);
  const [byte] = end;
  const isByte = end.length === 1;

  // A single byte is most of what is used. These two branches save a fifth of its time.
  function find(bytes: Uint8Array, from: number): number {
    return isByte ? bytes.indexOf(byte!, from) : findSeveral(bytes, from);
  }

  /** Throws if the delimiter would begin within a message. */
  function refuse(message: Uint8Array, found: number): void {
    // The last bytes may be the beginning of the delimiter.
    const common = found < 0 ? -1 - found : 0;
    const early = find(new Uint8Array([...end.subarray(0, common), ...end]), 0);
    if (found < 0 && early === common) return;
    const place = found < 0 ? message.length - common + early : found;
    const what = found < 0 ? "its end begins the delimiter" : "it has the delimiter";
    throw new RangeError(`Cannot encode a message: ${what}, ${end.join(" ")}, at byte ${place}`);
  }

  const codec: Codec<Uint8Array> = {
    maxBytes,
    encode(message, out) {
      checkBytes(message, maxBytes);
      const place = find(message, 0);
      if (place !== -1) refuse(message, place);
      out.bytes(message);
      if (isByte) out.byte(byte!);
      else out.bytes(end);
    },
    decode(bytes, scanned) {
      const place = find(bytes, Math.max(0, scanned - end.length + 1));
      // The last bytes may be the beginning of the delimiter.
      const size = place < 0 ? bytes.length + place + 1 : place;
      if (size > maxBytes) {
        throw tooLarge("decode", size, maxBytes, place < 0 ? "it has more than" : undefined);
      }
      if (place < 0) return undefined;
      return { message: bytes.subarray(0, place), end: place + end.length };
    },
    decodeAll(bytes, scanned, messages) {
      const { buffer, byteOffset } = bytes;
      let at = 0;
      let place = find(bytes, Math.max(0, scanned - end.length + 1));
      while (place >= 0) {
        const size = place - at;
        if (size > maxBytes) throw tooLarge("decode", size, maxBytes);
        messages.push(new Uint8Array(buffer, byteOffset + at, size));
        at = place + end.length;
        place = find(bytes, at);
      }
      return at;
    },
  };
  return withContents(codec, "bytes");
}

/** Returns the bytes of a delimiter, or throws if it is not one. */
function bytesOf(delimiter: number | Uint8Array): Uint8Array {
  if (typeof delimiter === "number") {
    checkInteger("delimiter", delimiter, 0, 255);
    return new Uint8Array([delimiter]);
  }
  if (!(delimiter instanceof Uint8Array)) {
    throw new TypeError(
      `Invalid delimiter: expected a byte or a Uint8Array, got ${show(delimiter)}`,
    );
  }
  checkInteger("delimiter (bytes)", delimiter.length, 1, MAX_DELIMITER_BYTES);
  return delimiter.slice();
}

/**
 * Returns a function that finds a delimiter, from a place on. It returns where the delimiter
 * begins. If it is not there: -1, minus the number of its bytes at the end.
 */
function finderOf(delimiter: Uint8Array): (bytes: Uint8Array, from: number) => number {
  const first = delimiter[0] as number;
  const shorter = shorterMatches(delimiter);
  return (bytes, from) => {
    let at = from;
    let matched = 0;
    while (at < bytes.length) {
      if (matched === 0) {
        at = bytes.indexOf(first, at);
        if (at < 0) return -1;
      }
      if (bytes[at] === delimiter[matched]) {
        at++;
        matched++;
        if (matched === delimiter.length) return at - matched;
      } else {
        matched = shorter[matched - 1]!;
      }
    }
    return -1 - matched;
  };
}

/**
 * Returns how many bytes still match if the byte after a match does not (Knuth, Morris and Pratt).
 * So no byte is compared again and again.
 */
function shorterMatches(delimiter: Uint8Array): number[] {
  const shorter = [0];
  for (let i = 1, matched = 0; i < delimiter.length; i++) {
    while (matched > 0 && delimiter[i] !== delimiter[matched]) matched = shorter[matched - 1]!;
    if (delimiter[i] === delimiter[matched]) matched++;
    shorter.push(matched);
  }
  return shorter;
}
