/**
 * The buffer that the chunks of a stream are read into, and copied from.
 *
 * - It grows with what comes, from 16 to 256 KiB, and shrinks again.
 * - Each chunk is a copy. Reading into new memory takes twice as long: it is zeroed first, and the
 *   kernel is slow to write to pages that are not mapped yet.
 */

import { countAllocated } from "../base/freed_memory.ts";
import { readBuffer } from "../base/read_buffer.ts";

export const MIN_CHUNK_BYTES: number = 16 * 1024;
const MAX_CHUNK_BYTES = 256 * 1024;

/** A buffer for one read at a time. */
export class ChunkBuffer {
  #size = MIN_CHUNK_BYTES;
  #buffer: Uint8Array<ArrayBuffer> | undefined;

  /** The memory for the next read. */
  get bytes(): Uint8Array<ArrayBuffer> {
    return this.#buffer ??= readBuffer(this.#size);
  }

  /** Returns the chunk that was read, which owns its memory. */
  take(count: number): Uint8Array<ArrayBuffer> {
    const chunk = new Uint8Array(this.bytes.subarray(0, count));
    countAllocated(count);
    if (count === this.#size) this.#resize(Math.min(2 * count, MAX_CHUNK_BYTES));
    else if (count * 8 < this.#size) this.#resize(Math.max(this.#size / 2, MIN_CHUNK_BYTES));
    return chunk;
  }

  #resize(size: number): void {
    if (size === this.#size) return;
    this.#buffer = undefined;
    this.#size = size;
  }
}
