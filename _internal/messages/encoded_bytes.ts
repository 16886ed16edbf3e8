/** A message as the bytes that a codec has made of it. */

import type { Codec } from "../../framing/codec.ts";
import { AlreadyEncoded } from "../base/already_encoded.ts";
import { show } from "../base/check.ts";
import { OutputBuffer } from "./output.ts";

/**
 * A message that was encoded once, for {@linkcode Messages.sendEncoded} of any number of channels.
 * Made by {@linkcode encodeMessage}.
 *
 * @template Out The message.
 * @category Messages
 */
export interface EncodedMessage<in Out> {
  /** The number of bytes, with the frame. */
  readonly byteLength: number;
  /** The codec that has encoded it. */
  readonly codec: Codec<unknown, Out>;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** An encoded message. Nothing changes its bytes. */
export class EncodedBytes<Out> extends AlreadyEncoded implements EncodedMessage<Out> {
  readonly codec: Codec<unknown, Out>;
  readonly #bytes: Uint8Array;

  constructor(codec: Codec<unknown, Out>, message: Out) {
    super();
    this.codec = codec;
    const out = new OutputBuffer();
    out.append(codec, message);
    this.#bytes = out.takeAll(NOTHING);
  }

  get byteLength(): number {
    return this.#bytes.length;
  }

  /** Returns the bytes of an encoded message for a channel. */
  static bytesFor(codec: unknown, encoded: unknown): Uint8Array {
    if (typeof encoded !== "object" || encoded === null || !(#bytes in encoded)) {
      const remedy = "Use encodeMessage(), or send()";
      throw new TypeError(`Invalid message: it is not encoded, got ${show(encoded)}. ${remedy}`);
    }
    if (encoded.codec !== codec) {
      throw new TypeError("Invalid message: it was encoded by another codec than the channel's");
    }
    return encoded.#bytes;
  }
}

/** Appends bytes that nothing changes, so that no call waits until they are written. */
export const ENCODED: { encode(bytes: Uint8Array, out: OutputBuffer): void } = {
  encode(bytes, out) {
    out.bytes(bytes);
    out.isLarge = false;
  },
};
