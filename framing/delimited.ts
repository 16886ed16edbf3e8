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
import type { ByteWriter, Codec, DecodedMessage } from "./codec.ts";

/** Options of {@linkcode delimited}. */
export interface DelimitedOptions {
  /**
   * The most bytes of a message, without its delimiter.
   *
   * @default {16 MiB}
   */
  maxBytes?: number;
}

/**
 * Frames messages by a byte at the end of each, such as 0.
 *
 * ```text
 * 68 65 6c 6c 6f  00   "hello", delimited by 0
 * └── message ──┘ └┘
 * 00                   the empty message
 * ```
 *
 * - **Any bytes but the delimiter** can be in a message; it may be empty. `send` refuses one with the
 *   delimiter in it: `RangeError`.
 * - **A message that comes in** is a view of the memory that it was read into.
 * - **Too large**: `MessageTooLarge`, on `send` and, as soon as more than that has come without the
 *   delimiter, on `receive`.
 * - **Cut short**, before the delimiter: `TruncatedMessage` with what there is.
 * - For text that ends with a line feed there is {@linkcode lines}.
 *
 * @param byte The delimiter, from 0 to 255.
 * @param options The limit.
 * @returns The codec.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the delimiter is not a byte, or `maxBytes` is not a whole number from 1 to 2^32.
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
  return new Delimited(byte, options.maxBytes ?? MAX_BYTES);
}

const CHECKS: Checks<DelimitedOptions> = { maxBytes: maxBytesUpTo() };

class Delimited implements Codec<Uint8Array> {
  readonly maxBytes: number;
  readonly #byte: number;

  constructor(byte: number, maxBytes: number) {
    this.#byte = byte;
    this.maxBytes = maxBytes;
  }

  encode(message: Uint8Array, out: ByteWriter): void {
    checkBytes(message);
    if (message.length > this.maxBytes) throw tooLarge("encode", message.length, this.maxBytes);
    const place = message.indexOf(this.#byte);
    if (place >= 0) {
      throw new RangeError(
        `Cannot encode a message: it has the delimiter, ${this.#byte}, at byte ${place}`,
      );
    }
    out.bytes(message);
    out.byte(this.#byte);
  }

  decode(bytes: Uint8Array, scanned: number): DecodedMessage<Uint8Array> | undefined {
    const end = bytes.indexOf(this.#byte, scanned);
    if (end < 0) {
      if (bytes.length > this.maxBytes) {
        throw tooLarge("decode", bytes.length, this.maxBytes, "it", true);
      }
      return undefined;
    }
    if (end > this.maxBytes) throw tooLarge("decode", end, this.maxBytes);
    return { message: bytes.subarray(0, end), end: end + 1 };
  }

  decodeAll(bytes: Uint8Array, scanned: number, messages: Uint8Array[]): number {
    const { buffer, byteOffset } = bytes;
    let at = 0;
    let end = bytes.indexOf(this.#byte, scanned);
    while (end >= 0) {
      if (end - at > this.maxBytes) throw tooLarge("decode", end - at, this.maxBytes);
      messages.push(new Uint8Array(buffer, byteOffset + at, end - at));
      at = end + 1;
      end = bytes.indexOf(this.#byte, at);
    }
    return at;
  }
}
