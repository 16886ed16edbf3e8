/**
 * The buffer that a stream's chunks are read into.
 *
 * - It grows with what comes, from 16 to 256 KiB, and shrinks again.
 * - A chunk that fills less than half of it is copied, so that keeping the chunk does not keep the buffer;
 *   a larger one takes the buffer along.
 */

import { readBuffer } from "../base/read_buffer.ts";

const MIN_SIZE = 16 * 1024;
const MAX_SIZE = 256 * 1024;

/** A buffer for one read at a time. */
export class ChunkBuffer {
  #size = MIN_SIZE;
  #buffer: Uint8Array<ArrayBuffer> | undefined;

  /** Where to read to. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer ??= readBuffer(this.#size);
  }

  /** The chunk of what was read; its memory is its own from here on. */
  take(count: number): Uint8Array<ArrayBuffer> {
    const { bytes } = this;
    if (count * 2 < bytes.length) {
      if (this.#size > MIN_SIZE && count * 8 < this.#size) {
        this.#size /= 2;
        this.#buffer = undefined;
      }
      return bytes.slice(0, count);
    }
    this.#buffer = undefined;
    if (count === this.#size) this.#size = Math.min(2 * this.#size, MAX_SIZE);
    return bytes.subarray(0, count);
  }
}
