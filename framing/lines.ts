import {
  checkString,
  malformed,
  MAX_BYTES,
  MAX_TEXT_BYTES,
  maxBytesUpTo,
  tooLarge,
  truncated,
} from "../_internal/messages/codec_support.ts";
import {
  checkArguments,
  checkBoolean,
  checkOptions,
  type Checks,
} from "../_internal/base/check.ts";
import { decodeUtf8 } from "../_internal/messages/utf8.ts";
import type { ByteWriter, DecodedMessage, TextCodec } from "./codec.ts";

/** Options of {@linkcode lines}. */
export interface LinesOptions {
  /**
   * The most bytes of a line, without its end.
   *
   * @default {16 MiB}
   */
  maxBytes?: number;
  /**
   * Whether the bytes before the end of file are a line even without a line feed, as in files that people
   * edit. A carriage return at their end is a part of that line. By default such a line counts as cut
   * short.
   *
   * @default {false}
   */
  allowUnterminated?: boolean;
}

const LF = 10;
const CR = 13;

/**
 * Frames messages as lines of UTF-8 text.
 *
 * ```text
 * 68 65 6c 6c 6f  0a      "hello"
 * 68 65 6c 6c 6f  0d 0a   "hello", from a peer that ends lines with CR LF
 * 0a                      the empty line
 * ```
 *
 * - **What is sent** ends with a line feed. A text that has one in it is refused, and so is one that ends
 *   with a carriage return, which the peer would take for a part of the line's end: `RangeError`. One
 *   with a lone surrogate, for which there is no UTF-8: `TypeError`.
 * - **What comes in** ends with a line feed, or with a carriage return and one; other carriage returns
 *   are a part of the line. A byte order mark is kept.
 * - The lines of one read are parts of one string, as `slice` makes them: as long as one short line of many
 *   is kept, all of them are, up to 256 KiB.
 * - **Malformed**: `Deno.errors.InvalidData` if the bytes are not UTF-8.
 * - **Too large**: `MessageTooLarge`, on `send` and, as soon as more than that has come without an end, on
 *   `receive`.
 * - **Cut short**: `TruncatedMessage` with what there is, unless `allowUnterminated` makes it a line.
 *
 * @param options The limit, and what to do with a last line that has no end.
 * @returns The codec.
 * @throws {TypeError} when an option is of the wrong kind.
 * @throws {RangeError} when `maxBytes` is not a whole number from 1 to 536,870,888, the longest string.
 *
 * @example Usage
 * ```ts
 * import { lines, messages, pair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const script = "read line <&3; echo got $line >&3";
 * await using child = await pair("sh", { args: ["-c", script] });
 * await using conn = messages(child.conn, lines());
 * await conn.send("ping");
 * assertEquals(await conn.receive(), "got ping");
 * ```
 */
export function lines(options: LinesOptions = {}): TextCodec {
  checkArguments("lines", arguments, 1, "lines({ maxBytes })");
  checkOptions("lines", options, CHECKS);
  const { maxBytes = MAX_BYTES, allowUnterminated = false } = options;
  return new Lines(maxBytes, allowUnterminated);
}

const CHECKS: Checks<LinesOptions> = {
  maxBytes: maxBytesUpTo(MAX_TEXT_BYTES),
  allowUnterminated: checkBoolean,
};

class Lines implements TextCodec {
  readonly text = true;
  readonly maxBytes: number;
  readonly #allowUnterminated: boolean;

  constructor(maxBytes: number, allowUnterminated: boolean) {
    this.maxBytes = maxBytes;
    this.#allowUnterminated = allowUnterminated;
  }

  encode(message: string, out: ByteWriter): void {
    checkString(message);
    const { maxBytes } = this;
    const place = message.indexOf("\n");
    if (place >= 0 || message.endsWith("\r")) {
      const what = place >= 0 ? `has a line feed at ${place}` : "ends with a carriage return";
      throw new RangeError(
        `Cannot encode a line: it ${what}, which would end it. Use json(lines())`,
      );
    }
    // Every character has at least one byte.
    if (message.length > maxBytes) throw tooLarge("encode", message.length, maxBytes);
    const size = out.text(message);
    if (size > maxBytes) throw tooLarge("encode", size, maxBytes);
    out.byte(LF);
  }

  decode(bytes: Uint8Array, scanned: number): DecodedMessage<string> | undefined {
    const end = bytes.indexOf(LF, scanned);
    if (end >= 0) return { message: this.#line(bytes.subarray(0, end)), end: end + 1 };
    // The last byte may be the first half of the end.
    if (bytes.length > this.maxBytes + (bytes[bytes.length - 1] === CR ? 1 : 0)) {
      throw tooLarge("decode", bytes.length, this.maxBytes, "it", true);
    }
    return undefined;
  }

  decodeAll(bytes: Uint8Array, scanned: number, messages: string[]): number {
    const last = bytes.subarray(scanned).lastIndexOf(LF);
    if (last < 0) return 0;
    const all = bytes.subarray(0, scanned + last + 1);
    // One text for all lines, unless one of them is, or may be, malformed or too large.
    const text = all.length <= this.maxBytes ? decodeUtf8(all) : undefined;
    if (text === undefined) return this.#decodeEach(all, messages);
    let at = 0;
    while (at < text.length) {
      const end = text.indexOf("\n", at);
      const cut = end > at && text.charCodeAt(end - 1) === CR ? end - 1 : end;
      messages.push(text.substring(at, cut));
      at = end + 1;
    }
    return all.length;
  }

  #decodeEach(bytes: Uint8Array, messages: string[]): number {
    let at = 0;
    while (at < bytes.length) {
      const end = bytes.indexOf(LF, at);
      messages.push(this.#line(bytes.subarray(at, end)));
      at = end + 1;
    }
    return bytes.length;
  }

  finish(rest: Uint8Array): string {
    if (!this.#allowUnterminated) throw truncated(rest);
    // Only a carriage return before a line feed is a part of the end.
    return this.#text(rest);
  }

  /** The text of a line that a line feed follows. */
  #line(bytes: Uint8Array): string {
    return this.#text(bytes[bytes.length - 1] === CR ? bytes.subarray(0, -1) : bytes);
  }

  #text(bytes: Uint8Array): string {
    if (bytes.length > this.maxBytes) throw tooLarge("decode", bytes.length, this.maxBytes);
    const text = decodeUtf8(bytes);
    if (text === undefined) throw malformed(`a line of ${bytes.length} bytes is no UTF-8`);
    return text;
  }
}
