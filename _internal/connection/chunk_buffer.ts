/**
 * The buffer that the chunks of a stream are read into.
 *
 * - It grows with what comes, from 16 to 256 KiB, and shrinks again.
 * - A chunk that fills less than half of it is copied, so a chunk that is kept does not keep the
 *   buffer. A larger chunk takes the buffer with it.
 */

import { readBuffer } from "../base/read_buffer.ts";

export const MIN_CHUNK_BYTES: number = 16 * 1024;
export const MAX_CHUNK_BYTES: number = 256 * 1024;

/** A buffer for one read at a time. */
export class ChunkBuffer {
  #size = MIN_CHUNK_BYTES;
  #buffer: Uint8Array<ArrayBuffer> | undefined;

  /** The memory for the next read. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer ??= readBuffer(this.#size);
  }

  /** Returns the chunk that was read, which owns its memory from here on. */
  take(count: number): Uint8Array<ArrayBuffer> {
    const { bytes } = this;
    if (count * 2 < bytes.length) {
      if (this.#size > MIN_CHUNK_BYTES && count * 8 < this.#size) {
        this.#size /= 2;
        this.#buffer = undefined;
      }
      return bytes.slice(0, count);
    }
    this.#buffer = undefined;
    if (count === this.#size) this.#size = Math.min(2 * this.#size, MAX_CHUNK_BYTES);
    return bytes.subarray(0, count);
  }
}
