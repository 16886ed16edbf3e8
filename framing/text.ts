import {
  checkCodec,
  checkString,
  checkTextFrames,
  decodeAllWith,
  malformed,
} from "../_internal/messages/codec_support.ts";
import { checkArguments } from "../_internal/base/check.ts";
import { checkWellFormed, decodeUtf8 } from "../_internal/messages/utf8.ts";
import type { ByteWriter, Codec, DecodedMessage, TextCodec } from "./codec.ts";

const ENCODER = new TextEncoder();
/** Short texts are encoded here: their frames are copied in any case. */
const SCRATCH_SIZE = 16 * 1024;
let scratch: Uint8Array | undefined;

/**
 * Makes the frames of another codec texts, in UTF-8.
 *
 * ```text
 * 00 00 00 06  67 72 c3 bc 6e 21   "grün!" in text(lengthPrefixed())
 * ```
 *
 * - **What is sent**: any text but one with a lone surrogate, for which there is no UTF-8: `TypeError`;
 *   and what the frames refuse.
 * - **Malformed**: `Deno.errors.InvalidData` if the bytes of a frame are not UTF-8. A byte order mark is
 *   kept.
 * - **Too large** and **cut short**: what the frames say.
 *
 * @param frames The codec of the bytes. For lines there is {@linkcode lines}, which makes texts itself.
 * @returns The codec.
 * @throws {TypeError} when `frames` is not a codec, or is one of texts already.
 * @throws {RangeError} when the frames may be larger than a string.
 *
 * @example Usage
 * ```ts
 * import { lengthPrefixed, messages, socketpair, text } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = await socketpair();
 * await using sender = messages(a, text(lengthPrefixed()));
 * await using receiver = messages(b, text(lengthPrefixed()));
 * await sender.send("grün!");
 * assertEquals(await receiver.receive(), "grün!");
 * ```
 */
export function text(frames: Codec<Uint8Array>): TextCodec {
  checkArguments("text", arguments, 1, "text(frames)");
  checkCodec("frames", frames);
  checkTextFrames(frames);
  if ("text" in frames) throw new TypeError("Invalid frames: its messages are texts already");
  return new Text(frames);
}

class Text implements TextCodec {
  readonly text = true;
  readonly maxBytes: number;
  readonly finish?: (rest: Uint8Array) => string;
  readonly #frames: Codec<Uint8Array>;

  constructor(frames: Codec<Uint8Array>) {
    this.#frames = frames;
    this.maxBytes = frames.maxBytes;
    if (frames.finish !== undefined) {
      this.finish = (rest) => decodeText(frames.finish!(rest));
    }
  }

  encode(message: string, out: ByteWriter): void {
    checkString(message);
    checkWellFormed(message);
    if (3 * message.length > SCRATCH_SIZE) {
      this.#frames.encode(ENCODER.encode(message), out);
      return;
    }
    const place = scratch ?? new Uint8Array(SCRATCH_SIZE);
    // The frames may encode a text of their own before they copy this one.
    scratch = undefined;
    try {
      const { written } = ENCODER.encodeInto(message, place);
      this.#frames.encode(place.subarray(0, written), out);
    } finally {
      scratch = place;
    }
  }

  decode(bytes: Uint8Array, scanned: number): DecodedMessage<string> | number | undefined {
    const result = this.#frames.decode(bytes, scanned);
    if (typeof result !== "object") return result;
    return { message: decodeText(result.message), end: result.end };
  }

  decodeAll(bytes: Uint8Array, scanned: number, messages: string[]): number {
    return decodeAllWith(this.#frames, bytes, scanned, messages, decodeText);
  }
}

function decodeText(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw malformed(`a text of ${bytes.length} bytes is no UTF-8`);
  return text;
}
