import { checked } from "../_internal/base/caller_stack.ts";
import {
  checkString,
  lineCodecs,
  malformed,
  MAX_BYTES,
  MAX_TEXT_BYTES,
  maxBytesUpTo,
  tooLarge,
  truncated,
  withContents,
} from "../_internal/messages/codec_support.ts";
import {
  checkArguments,
  checkBoolean,
  checkFunction,
  checkOptions,
  type Checks,
  oneOf,
} from "../_internal/base/check.ts";
import { surviving } from "../_internal/base/surviving.ts";
import type { MessageTooLarge } from "../errors.ts";
import { decodeUtf8 } from "../_internal/messages/utf8.ts";
import type { TextCodec } from "./codec.ts";

/**
 * Options of {@linkcode lines}.
 *
 * @category Messages
 */
export interface LinesOptions {
  /**
   * The maximum number of bytes of a line, without its end.
   *
   * @default {16 MiB}
   */
  maxBytes?: number | undefined;
  /**
   * Whether the bytes before the end of file are a line even without a line feed, as in files that
   * people edit. A carriage return at their end belongs to that line. By default such a line counts
   * as cut short.
   *
   * @default {false}
   */
  allowUnterminated?: boolean | undefined;
  /**
   * What to do with a received line of more than `maxBytes`. `"skip"` drops it as it comes, and
   * receives the next line: a collector of logs should not stop at a long one.
   *
   * @default {"fail"}
   */
  tooLong?: "fail" | "skip" | undefined;
  /**
   * Called when a line was skipped, with its size and the limit. The messages before it are
   * delivered. What it throws is printed on standard error, and ends nothing.
   */
  onSkip?: ((error: MessageTooLarge) => void) | undefined;
}

const CHECKS: Checks<LinesOptions> = {
  maxBytes: maxBytesUpTo(MAX_TEXT_BYTES),
  allowUnterminated: checkBoolean,
  tooLong: oneOf("fail", "skip"),
  onSkip: checkFunction,
};

const TO_END_A_LINE =
  "End it with a line feed, or receive it with lines({ allowUnterminated: true })";
const LF = 10;
const CR = 13;
const ENCODER = new TextEncoder();

/**
 * Frames messages as lines of UTF-8 text.
 *
 * ```text
 * 68 65 6c 6c 6f  0a      "hello"
 * 68 65 6c 6c 6f  0d 0a   "hello", from a peer that ends lines with CR LF
 * 0a                      the empty line
 * ```
 *
 * - **On `send`** each line gets a line feed. A text that contains one is refused: `RangeError`. So
 *   is a text that ends with a carriage return, which the peer would count as part of the line's
 *   end. A text with a lone surrogate, which UTF-8 cannot hold: `TypeError`.
 * - **On `receive`** a line ends at a line feed, or at a carriage return and a line feed. Other
 *   carriage returns belong to the line. A byte order mark is kept.
 * - **Memory**: the lines of one read are slices of one string. Keeping one short line keeps all of
 *   them, up to 256 KiB.
 * - **Malformed**: `Deno.errors.InvalidData` when the bytes are not UTF-8.
 * - **Too large**: `MessageTooLarge`, from `send`, and from `receive` as soon as more bytes have
 *   come without an end. With `tooLong: "skip"`, such a received line is dropped as it comes.
 *   `onSkip` is then called at its end, or at the end of file.
 * - **Cut short**: `TruncatedMessage` with the bytes that came, unless `allowUnterminated` makes
 *   them a line.
 *
 * @param options The limit, and what to do with a line that is too long or has no end.
 * @returns The codec.
 * @throws {TypeError} when an option is of the wrong kind.
 * @throws {RangeError} when `maxBytes` is not a whole number from 1 to 536,870,888, the longest
 * string.
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
 *
 * @category Messages
 */
export function lines(options: LinesOptions = {}): TextCodec {
  checked(lines, () => {
    checkArguments("lines", arguments, 1, "lines({ maxBytes })");
    checkOptions("lines", options, CHECKS);
  });
  const { maxBytes = MAX_BYTES, allowUnterminated = false, tooLong } = options;
  const onSkip = surviving(options.onSkip ?? (() => {}));

  function textOf(bytes: Uint8Array): string {
    if (bytes.length > maxBytes) throw tooLarge("decode", bytes.length, maxBytes);
    const text = decodeUtf8(bytes);
    if (text === undefined) throw malformed(`a line of ${bytes.length} bytes is not UTF-8`);
    return text;
  }

  const codec: TextCodec = {
    text: true,
    maxBytes,
    encode(message, out) {
      checkString(message);
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
    },
    decode(bytes, scanned) {
      const end = bytes.indexOf(LF, scanned);
      const hasCr = bytes[(end < 0 ? bytes.length : end) - 1] === CR;
      if (end >= 0) {
        return { message: textOf(bytes.subarray(0, hasCr ? end - 1 : end)), end: end + 1 };
      }
      // The last byte may be the first half of the end.
      if (bytes.length > maxBytes + (hasCr ? 1 : 0)) {
        throw tooLarge("decode", bytes.length, maxBytes, "it has more than");
      }
      return undefined;
    },
    decodeAll(bytes, scanned, messages) {
      const size = scanned + bytes.subarray(scanned).lastIndexOf(LF) + 1;
      // One string for all lines. decode() finds the one that is not UTF-8.
      const all = size > scanned ? decodeUtf8(bytes.subarray(0, size)) : undefined;
      if (all === undefined) return 0;
      // One unit of a string has one byte in ASCII, and at most three.
      const sureLength = all.length === size ? maxBytes : maxBytes / 3;
      for (let at = 0; at < all.length;) {
        const end = all.indexOf("\n", at);
        const hasCr = end > at && all.charCodeAt(end - 1) === CR;
        const line = all.substring(at, hasCr ? end - 1 : end);
        if (line.length > sureLength && sizeOf(line) > maxBytes) {
          // decode() refuses it.
          return sizeOf(all.substring(0, at));
        }
        messages.push(line);
        at = end + 1;
      }
      return size;
    },
    finish(rest) {
      if (!allowUnterminated) throw truncated(rest, undefined, TO_END_A_LINE);
      // Only a carriage return before a line feed is part of the end.
      return textOf(rest);
    },
    ...(tooLong === "skip" && {
      skip(bytes, skipped) {
        const end = bytes.indexOf(LF);
        if (end < 0 && bytes.length > 0) return undefined;
        const error = tooLarge("decode", skipped + Math.max(end, 0), maxBytes);
        // Later, because it may call detach(), which returns what follows the line.
        queueMicrotask(() => onSkip(error));
        return end + 1;
      },
    }),
  };
  lineCodecs.add(codec);
  return withContents(codec, "none");
}

/** Returns the number of bytes of a text. */
function sizeOf(text: string): number {
  return ENCODER.encode(text).length;
}
