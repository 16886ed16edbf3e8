/**
 * What is to be sent: messages back to back in blocks, of which one after the other is written while
 * the last one is being filled.
 *
 * - Blocks go back to a store that all channels share, so that an idle one holds no memory.
 * - Bytes of a block's size and more are not copied, but sent from where they are; what stands before them
 *   in a block that has begun is filled up with their beginning.
 */

import type { ByteWriter, Codec } from "../../framing/codec.ts";
import { checkBytes } from "./codec_support.ts";
import { checkInteger } from "../base/check.ts";
import { readBuffer } from "../base/read_buffer.ts";
import { checkWellFormed } from "./utf8.ts";

/** A part of the output, written at once. */
export interface Segment {
  readonly bytes: Uint8Array;
  /** The block that it fills, to be used again. */
  readonly block: Uint8Array | undefined;
}

/** Bytes of a block: what is written at once where there is more to send. */
export const BLOCK_SIZE: number = 64 * 1024;
/** Blocks that are kept for later. */
const MAX_SPARE = 16;
const spare: Uint8Array[] = [];

const NO_BLOCK: Uint8Array = new Uint8Array(0);
/** Up to so many characters a loop over them takes a third of the time that a call of the encoder does. */
const SHORT = 64;
const ENCODER = new TextEncoder();

/** The output of a channel, and the writer of its codec. */
export class OutputBuffer implements ByteWriter {
  #block: Uint8Array = NO_BLOCK;
  #length = 0;
  /** What was finished before, to be written first. */
  #sealed: Segment[] = [];
  #sealedBytes = 0;
  #encoding = false;
  /** Whether the last message is partly sent from the memory of its sender. */
  borrowed = false;

  /** The number of bytes that are not taken yet. */
  get size(): number {
    return this.#sealedBytes + this.#length;
  }

  /** Whether there is a segment that nothing can be added to. */
  get isSealed(): boolean {
    return this.#sealed.length > 0;
  }

  /** Refuses what is called by a codec that has not done: it could be taken back after it was written. */
  checkIdle(): void {
    if (this.#encoding) {
      throw new TypeError("Cannot send a message: its codec is still encoding another one");
    }
  }

  /** Appends a message whole or, where its codec throws, not at all. */
  append<T>(codec: Codec<T>, message: T): void {
    this.checkIdle();
    const block = this.#block;
    const length = this.#length;
    const count = this.#sealed.length;
    this.borrowed = false;
    this.#encoding = true;
    try {
      const result: unknown = codec.encode(message, this);
      if (result instanceof Promise) {
        result.catch(() => {});
        throw new TypeError("Invalid codec: encode() is asynchronous");
      }
    } catch (error) {
      for (const { bytes } of this.#sealed.splice(count)) this.#sealedBytes -= bytes.length;
      this.#block = block;
      this.#length = length;
      throw error;
    } finally {
      this.#encoding = false;
    }
  }

  byte(value: number): void {
    if (this.#length === this.#block.length) this.#renew(1);
    this.#block[this.#length++] = value;
  }

  uint32(value: number, littleEndian = false): void {
    if (this.#block.length - this.#length < 4) this.#renew(4);
    const block = this.#block;
    const at = this.#length;
    if (littleEndian) {
      block[at] = value;
      block[at + 1] = value >>> 8;
      block[at + 2] = value >>> 16;
      block[at + 3] = value >>> 24;
    } else {
      block[at] = value >>> 24;
      block[at + 1] = value >>> 16;
      block[at + 2] = value >>> 8;
      block[at + 3] = value;
    }
    this.#length = at + 4;
  }

  bytes(data: Uint8Array): void {
    checkBytes(data);
    const size = data.length;
    if (size > this.#block.length - this.#length) return this.#spread(data);
    this.#block.set(data, this.#length);
    this.#length += size;
  }

  text(value: string): number {
    const { length } = value;
    if (length <= SHORT && this.#ascii(value)) return length;
    checkWellFormed(value);
    const most = 3 * length;
    if (most > BLOCK_SIZE) {
      const bytes = ENCODER.encode(value);
      const { borrowed } = this;
      this.bytes(bytes);
      this.borrowed = borrowed;
      return bytes.length;
    }
    if (most > this.#block.length - this.#length) this.#renew(most);
    const { written } = ENCODER.encodeInto(value, this.#block.subarray(this.#length));
    this.#length += written;
    return written;
  }

  /** Appends a text if it is ASCII; tells whether it was. */
  #ascii(value: string): boolean {
    const { length } = value;
    if (length > this.#block.length - this.#length) this.#renew(length);
    const block = this.#block;
    let at = this.#length;
    for (let i = 0; i < length; i++) {
      const code = value.charCodeAt(i);
      if (code >= 0x80) return false;
      block[at++] = code;
    }
    this.#length = at;
    return true;
  }

  reserve(size: number): Uint8Array {
    checkInteger("size", size ?? null, 0, Number.MAX_SAFE_INTEGER);
    if (size > this.#block.length - this.#length) this.#renew(size);
    const place = this.#block.subarray(this.#length, this.#length += size);
    // A block may have been used before, by another channel.
    return place.fill(0);
  }

  /**
   * The next segment to write.
   *
   * @param unfinished Whether one that could still be added to will do.
   */
  take(unfinished: boolean): Segment | undefined {
    if (this.#sealed.length === 0) {
      if (!unfinished || this.#length === 0) return undefined;
      this.#seal();
    }
    const segment = this.#sealed.shift() as Segment;
    this.#sealedBytes -= segment.bytes.length;
    return segment;
  }

  /** Gives a segment's memory back. */
  release({ block }: Segment): void {
    if (block?.length === BLOCK_SIZE && spare.length < MAX_SPARE) spare.push(block);
  }

  /** Copies what fits, and what is left unless it fills a block. */
  #spread(data: Uint8Array): void {
    // Together with what stands before it, which may be no more than its length.
    const alone = this.#length === 0 && data.length >= BLOCK_SIZE;
    const fits = alone ? 0 : this.#block.length - this.#length;
    if (fits > 0) {
      this.#block.set(data.subarray(0, fits), this.#length);
      this.#length += fits;
    }
    const rest = data.subarray(fits);
    if (rest.length >= BLOCK_SIZE) {
      this.#seal();
      this.#sealed.push({ bytes: rest, block: undefined });
      this.#sealedBytes += rest.length;
      this.borrowed = true;
    } else {
      this.#renew(rest.length);
      this.#block.set(rest, 0);
      this.#length = rest.length;
    }
  }

  #seal(): void {
    if (this.#length === 0) return;
    this.#sealed.push({ bytes: this.#block.subarray(0, this.#length), block: this.#block });
    this.#sealedBytes += this.#length;
    this.#block = NO_BLOCK;
    this.#length = 0;
  }

  /** Takes a new block, with room for so many bytes. */
  #renew(size: number): void {
    this.#seal();
    this.#block = size > BLOCK_SIZE ? new Uint8Array(size) : spare.pop() ?? readBuffer(BLOCK_SIZE);
  }
}
