/**
 * The bytes to send: messages back to back in blocks. While the last block is being filled, the
 * others are written one after the other.
 *
 * - All channels share one store of free blocks, so that an idle channel holds no memory.
 * - Bytes of a block's size and more are sent without a copy, except for the beginning that still
 *   fits into the current block.
 */

import type { ByteWriter } from "../../framing/codec.ts";
import { checkBytes } from "./codec_support.ts";
import { checkInteger } from "../base/check.ts";
import { readBuffer } from "../base/read_buffer.ts";
import { checkWellFormed } from "./utf8.ts";

/** A part of the output, written in one piece. */
export interface Segment {
  /** Memory of the caller may have been detached since: then they are fewer than `size`. */
  readonly bytes: Uint8Array;
  readonly size: number;
  /** The block that it fills, if it can be used again. */
  readonly block: Uint8Array | undefined;
}

/** The part of a codec that makes bytes. */
export interface Encoder<T> {
  encode(message: T, out: OutputBuffer): void;
}

/** The number of bytes that are gathered for a write, and up to which bytes are copied. */
export const BLOCK_BYTES: number = 64 * 1024;
/** The room for the frame of a message of 64 KiB, so that one write has all of it. */
const FRAME_BYTES = 64;
const MAX_SPARE_BLOCKS = 16;
const spare: Uint8Array[] = [];

const NO_BLOCK: Uint8Array = new Uint8Array(0);
/**
 * Up to this length, a loop over the characters takes a third of the time of a call of the encoder.
 */
const MAX_LOOP_LENGTH = 64;
const ENCODER = new TextEncoder();

/** The output of a channel, and the writer of its codec. */
export class OutputBuffer implements ByteWriter {
  #block: Uint8Array = NO_BLOCK;
  #length = 0;
  /** From where on the block can be moved to the next one: the beginning of the last message. */
  #start = 0;
  /** The finished segments, which are written first. */
  #sealed: Segment[] = [];
  #sealedBytes = 0;
  #isEncoding = false;
  /** Whether the last message has bytes of a block or more: some may be memory of the caller. */
  isLarge = false;

  /** The number of bytes that were not taken yet. */
  get size(): number {
    return this.#sealedBytes + this.#length;
  }

  /** Whether a segment is finished. */
  get isSealed(): boolean {
    return this.#sealed.length > 0;
  }

  /**
   * The error for a call while a codec encodes: a message that it then refuses could be written
   * already.
   */
  get busyError(): TypeError | undefined {
    return this.#isEncoding
      ? new TypeError("Cannot send a message: its codec is still encoding another one")
      : undefined;
  }

  /** Appends a whole message, or nothing if its codec throws. */
  append<T>(codec: Encoder<T>, message: T): void {
    if (this.#isEncoding) throw this.busyError;
    const block = this.#block;
    const length = this.#length;
    const count = this.#sealed.length;
    this.#start = length;
    this.isLarge = false;
    this.#isEncoding = true;
    try {
      const result: unknown = codec.encode(message, this);
      if (result instanceof Promise) {
        result.catch(() => {});
        throw new TypeError("Invalid codec: encode() is asynchronous");
      }
    } catch (error) {
      for (const { size } of this.#sealed.splice(count)) this.#sealedBytes -= size;
      this.#block = block;
      this.#length = length;
      throw error;
    } finally {
      this.#isEncoding = false;
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
    if (size >= BLOCK_BYTES) this.isLarge = true;
    if (size > this.#block.length - this.#length) return this.#spread(data);
    this.#block.set(data, this.#length);
    this.#length += size;
  }

  text(value: string): number {
    const { length } = value;
    if (length <= MAX_LOOP_LENGTH && this.#ascii(value)) return length;
    checkWellFormed(value);
    const most = 3 * length;
    if (most > BLOCK_BYTES) {
      const bytes = ENCODER.encode(value);
      const { isLarge } = this;
      this.bytes(bytes);
      this.isLarge = isLarge;
      return bytes.length;
    }
    if (most > this.#block.length - this.#length) this.#renew(most);
    const { written } = ENCODER.encodeInto(value, this.#block.subarray(this.#length));
    this.#length += written;
    return written;
  }

  /** Appends a text if it is ASCII. Reports whether it was. */
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
    this.#start = this.#length;
    // Another channel may have used the block before.
    return place.fill(0);
  }

  /**
   * Removes and returns the next segment.
   *
   * @param unfinished Whether to take the current block too, although it is not full.
   */
  take(unfinished: boolean): Segment | undefined {
    if (this.#sealed.length === 0) {
      return unfinished && this.#length > 0 ? this.#finish() : undefined;
    }
    const segment = this.#sealed.shift() as Segment;
    this.#sealedBytes -= segment.size;
    return segment;
  }

  /** Removes all segments. Returns their bytes after some others. */
  takeAll(before: Uint8Array): Uint8Array {
    const all = new Uint8Array(before.length + this.size);
    let at = 0;
    const add = (bytes: Uint8Array) => {
      // A detached buffer cannot be read at all.
      if (bytes.length > 0) all.set(bytes, at);
      at += bytes.length;
    };
    add(before);
    for (let segment; (segment = this.take(true)) !== undefined;) {
      add(segment.bytes);
      this.release(segment);
    }
    return all.subarray(0, at);
  }

  /** Makes the memory of a written segment available to all channels. */
  release({ block }: Segment): void {
    if (block?.length === BLOCK_BYTES + FRAME_BYTES && spare.length < MAX_SPARE_BLOCKS) {
      spare.push(block);
    }
  }

  /** Copies into a new block what fills at most one. Of more, only copies the beginning. */
  #spread(data: Uint8Array): void {
    let rest = data;
    if (data.length > BLOCK_BYTES) {
      // Otherwise a write would contain little more than a length.
      const fits = this.#length === 0 ? 0 : this.#block.length - this.#length;
      if (fits > 0) {
        this.#block.set(data.subarray(0, fits), this.#length);
        this.#length += fits;
      }
      rest = data.subarray(fits);
    }
    if (rest.length > BLOCK_BYTES) {
      if (this.#length > 0) this.#seal();
      this.#sealed.push({ bytes: rest, size: rest.length, block: undefined });
      this.#sealedBytes += rest.length;
    } else {
      this.#renew(rest.length);
      this.#block.set(rest, this.#length);
      this.#length += rest.length;
    }
  }

  #seal(): void {
    this.#sealedBytes += this.#length;
    this.#sealed.push(this.#finish());
  }

  /** Returns the bytes of the current block, which ends. */
  #finish(): Segment {
    const block = this.#block;
    const size = this.#length;
    const segment = { bytes: block.subarray(0, size), size, block };
    this.#block = NO_BLOCK;
    this.#length = 0;
    return segment;
  }

  /**
   * Begins a new block with room for so many bytes. It takes the beginning of the message along, so
   * that a peer which reads whole blocks need not join messages.
   */
  #renew(size: number): void {
    const head = this.#block.subarray(this.#start, this.#length);
    const taken = head.length > FRAME_BYTES ? 0 : head.length;
    this.#length -= taken;
    if (this.#length > 0) this.#seal();
    this.#block = taken + size > BLOCK_BYTES + FRAME_BYTES
      ? new Uint8Array(taken + size)
      : spare.pop() ?? readBuffer(BLOCK_BYTES + FRAME_BYTES);
    if (taken > 0) this.#block.set(head);
    this.#length = taken;
    this.#start = 0;
  }
}
