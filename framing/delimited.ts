import {
  checkBytes,
  MAX_BYTES,
  maxBytesUpTo,
  tooLarge,
} from "../_internal/messages/codec_support.ts";
import {
  checkArguments,
  checkInteger,
  checkOptions,
  type Checks,
} from "../_internal/base/check.ts";
import type { Codec } from "./codec.ts";

/** Options of {@linkcode delimited}. */
export interface DelimitedOptions {
  /**
   * The maximum number of bytes of a message, without its delimiter.
   *
   * @default {16 MiB}
   */
  maxBytes?: number;
}

const CHECKS: Checks<DelimitedOptions> = { maxBytes: maxBytesUpTo() };

/**
 * Frames messages by a byte at the end of each, such as 0.
 *
 * ```text
 * 68 65 6c 6c 6f  00   "hello", delimited by 0
 * └── message ──┘ └┘
 * 00                   the empty message
 * ```
 *
 * - **Content**: any bytes except the delimiter, or none. `send` refuses a message that contains
 *   the delimiter: `RangeError`.
 * - **A received message** is a view of the memory that it was read into.
 * - **Too large**: `MessageTooLarge`, from `send`, and from `receive` as soon as more bytes have
 *   come without the delimiter.
 * - **Cut short**, before the delimiter: `TruncatedMessage` with the bytes that came.
 * - For text that ends with a line feed, use {@linkcode lines}.
 *
 * @param byte The delimiter, from 0 to 255.
 * @param options The limit.
 * @returns The codec.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the delimiter is not a byte, or `maxBytes` is not a whole number from 1
 * to 2^32.
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
 */
export function delimited(byte: number, options: DelimitedOptions = {}): Codec<Uint8Array> {
  checkArguments("delimited", arguments, 2, "delimited(byte, { maxBytes })");
  checkInteger("byte", byte, 0, 255);
  checkOptions("delimited", options, CHECKS);
  const { maxBytes = MAX_BYTES } = options;
  return {
    maxBytes,
    encode(message, out) {
      checkBytes(message, maxBytes);
      const place = message.indexOf(byte);
      if (place >= 0) {
        throw new RangeError(
          `Cannot encode a message: it has the delimiter, ${byte}, at byte ${place}`,
        );
      }
      out.bytes(message);
      out.byte(byte);
    },
    decode(bytes, scanned) {
      const end = bytes.indexOf(byte, scanned);
      const size = end < 0 ? bytes.length : end;
      if (size > maxBytes) {
        throw tooLarge("decode", size, maxBytes, end < 0 ? "it has more than" : undefined);
      }
      return end < 0 ? undefined : { message: bytes.subarray(0, end), end: end + 1 };
    },
    decodeAll(bytes, scanned, messages) {
      const { buffer, byteOffset } = bytes;
      let at = 0;
      let end = bytes.indexOf(byte, scanned);
      while (end >= 0) {
        const size = end - at;
        if (size > maxBytes) throw tooLarge("decode", size, maxBytes);
        messages.push(new Uint8Array(buffer, byteOffset + at, size));
        at = end + 1;
        end = bytes.indexOf(byte, at);
      }
      return at;
    },
  };
}
