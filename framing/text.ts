import { checked } from "../_internal/base/caller_stack.ts";
import {
  checkString,
  checkTextFrames,
  malformed,
  overFrames,
  withContents,
} from "../_internal/messages/codec_support.ts";
import { checkArguments } from "../_internal/base/check.ts";
import { checkWellFormed, decodeUtf8 } from "../_internal/messages/utf8.ts";
import type { ByteWriter, Codec, TextCodec } from "./codec.ts";

const ENCODER = new TextEncoder();
/** Short texts are encoded into one buffer, because the output copies their frames. */
const SCRATCH_BYTES = 16 * 1024;
let scratch: Uint8Array | undefined;

/**
 * Makes the frames of another codec texts, in UTF-8.
 *
 * ```text
 * 00 00 00 06  67 72 c3 bc 6e 21   "grün!" in text(lengthPrefixed())
 * ```
 *
 * - **On `send`** a text with a lone surrogate, which UTF-8 cannot hold, is refused: `TypeError`.
 *   So is a text that the frames refuse.
 * - **Malformed**: `Deno.errors.InvalidData` when the bytes of a frame are not UTF-8. A byte order
 *   mark is kept.
 * - **Too large** and **cut short**: as the frames say.
 *
 * @param frames The codec of the bytes. For lines, use {@linkcode lines}, which makes texts itself.
 * @returns The codec.
 * @throws {TypeError} when `frames` is not a codec, or is a codec of texts already.
 * @throws {RangeError} when the frames can be larger than a string.
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
 *
 * @category Messages
 */
export function text(frames: Codec<Uint8Array>): TextCodec {
  checked(text, () => {
    checkArguments("text", arguments, 1, "text(frames)");
    checkTextFrames(frames);
    if ("text" in frames) throw new TypeError("Invalid frames: its messages are texts already");
  });
  const encode = (message: string, out: ByteWriter) => encodeText(message, frames, out);
  return withContents({ text: true, ...overFrames(frames, encode, decodeText) }, "none");
}

function encodeText(message: string, frames: Codec<Uint8Array>, out: ByteWriter): void {
  checkString(message);
  checkWellFormed(message);
  if (3 * message.length > SCRATCH_BYTES) return frames.encode(ENCODER.encode(message), out);
  const place = scratch ?? new Uint8Array(SCRATCH_BYTES);
  // The frames may encode another text before they copy this one.
  scratch = undefined;
  try {
    const { written } = ENCODER.encodeInto(message, place);
    frames.encode(place.subarray(0, written), out);
  } finally {
    scratch = place;
  }
}

function decodeText(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw malformed(`a text of ${bytes.length} bytes is not UTF-8`);
  return text;
}
