/**
 * The bytes that have come and are not a message yet.
 *
 * - A chunk is filled from its start to its end. It is not overwritten while a message may be a
 *   view of it.
 * - Bytes of 16 KiB to 256 KiB are copied out of their chunk, which is then overwritten. Copying
 *   from cached memory is faster than reading into memory that is not cached.
 * - About a hundred messages are decoded at a time. Otherwise a peer could make as many objects as
 *   a chunk has bytes, and keep the rest of the process waiting.
 * - Other bytes are copied only if a message continues in a new chunk. Of a large message with a
 *   known size, only the bytes that came with its beginning are copied.
 */

import { MessageTooLarge } from "../../errors.ts";
import type { Codec } from "../../framing/codec.ts";
import { type Contents, contentsOf, memoryLost, tooLarge, truncated } from "./codec_support.ts";
import { show } from "../base/check.ts";
import { countAllocated } from "../base/freed_memory.ts";
import { readBuffer } from "../base/read_buffer.ts";

/** Chunks grow between these sizes with the bytes that come. */
const MIN_CHUNK_BYTES = 16 * 1024;
const MAX_CHUNK_BYTES = 256 * 1024;
/** From this size on, messages of bytes are copied out of their chunk. */
const COPIED_BYTES = 16 * 1024;
/**
 * From this size on, a message that announces its size has its own chunk, unless its chunk
 * can be used again. Then it need not be joined, and one that is kept keeps nothing else.
 */
const MIN_LARGE_BYTES = 32 * 1024;
/**
 * By how much an incomplete message may exceed its codec's limit before the codec is not called any
 * more.
 */
const EXCESS_BYTES = 64 * 1024;
/**
 * How much is allocated at once for a message that announces its size: a mebibyte with its frame.
 */
const TRUSTED_BYTES = 1024 * 1024 + EXCESS_BYTES;

/** The number of messages after which decoding pauses: using them may take longer than decoding. */
const MAX_BATCH_MESSAGES = 128;
/**
 * Slices that are decoded at once have these sizes. A slice can contain as many messages as bytes.
 */
const MIN_SLICE_BYTES = 1024;
const MAX_SLICE_BYTES = 8192;
/**
 * A slice with fewer messages is worth enlarging. One with twice as many makes slices small again.
 */
const WORTHWHILE_MESSAGES = 64;

const NOTHING: Uint8Array = new Uint8Array(0);

/** The input of a channel or a stream. */
export class InputBuffer<T> {
  readonly #codec: Codec<T, never>;
  readonly #reuse: boolean;
  #chunk: Uint8Array = NOTHING;
  #start = 0;
  #end = 0;
  /** Where the messages of the last `decode()` began. */
  #batchStart = 0;
  /** How many bytes the codec has searched without finding the end of the message. */
  #scanned = 0;
  /** How many bytes of a message that is too large were dropped, while one is skipped. */
  #skipped: number | undefined;
  /** How many bytes there must be before the codec is called again. */
  #needed = 1;
  #chunkBytes = MIN_CHUNK_BYTES;
  #sliceBytes = MIN_SLICE_BYTES;
  /** The size of the last message, if it was large: the next one may be large too. */
  #expected = 0;
  /** From which size on a message is large. */
  readonly #largeBytes: number;
  #offered = 0;
  readonly #contents: Contents;
  /** Whether messages may be views of the chunk, which then stays as it is. */
  #isViewed = false;

  /**
   * @param reuse Whether messages may be overwritten as soon as there is room for the next ones.
   */
  constructor(codec: Codec<T, never>, reuse = false) {
    this.#codec = codec;
    this.#reuse = reuse;
    this.#contents = reuse ? "none" : contentsOf(codec);
    this.#largeBytes = this.#contents === "views" ? MIN_LARGE_BYTES : MAX_CHUNK_BYTES;
  }

  /** Whether a message is incomplete. */
  get hasBegun(): boolean {
    return this.#rest > 0 || this.isSkipping;
  }

  /** Whether other code has detached the memory: a transfer of a message does that. */
  get isLost(): boolean {
    return this.#chunk.length === 0 && (this.#chunk.buffer as ArrayBuffer).detached;
  }

  /** Whether a message that is too large is being dropped. */
  get isSkipping(): boolean {
    return this.#skipped !== undefined;
  }

  /** The number of bytes of the incomplete message. */
  get #rest(): number {
    return this.#end - this.#start;
  }

  /** Whether the codec said how many bytes it needs. */
  get #isAnnounced(): boolean {
    return this.#needed > this.#scanned + 1;
  }

  /** Whether the incomplete message is a large one. */
  get #isLarge(): boolean {
    return this.#needed > this.#largeBytes && this.#isAnnounced;
  }

  /** Forgets memory that was detached. Throws if it held the beginning of a message. */
  #forgetLost(): void {
    if (this.#rest > 0) throw memoryLost();
    this.#chunk = NOTHING;
    this.#start = this.#end = this.#batchStart = 0;
  }

  /** Returns where to put the next bytes. Call {@linkcode filled} with their number. */
  room(): Uint8Array {
    if (this.isLost) this.#forgetLost();
    if (!this.#isViewed && this.#rest === 0) {
      this.#start = this.#end = 0;
      // An idle channel does not hold what a burst needed.
      if (!this.#reuse && this.#chunk.length > 4 * this.#chunkBytes) this.#chunk = NOTHING;
    }
    const isLarge = this.#isLarge;
    const free = this.#chunk.length - this.#end;
    const isTight = isLarge
      ? free === 0 || this.#chunk.length - this.#start < Math.min(this.#needed, TRUSTED_BYTES)
      : free < this.#chunkBytes >> 2;
    if (isTight) this.#renew(0);
    // The message after a large one begins in its own chunk, so it need not be copied out of this
    // one.
    const end = isLarge ? this.#start + this.#needed : this.#chunk.length;
    const room = this.#chunk.subarray(this.#end, end);
    this.#batchStart = this.#start;
    this.#offered = room.length;
    return room;
  }

  /** Counts the bytes that were put into the room. */
  filled(count: number): void {
    this.#end += count;
    if (count === this.#offered) {
      this.#chunkBytes = Math.min(2 * this.#chunkBytes, MAX_CHUNK_BYTES);
    } else if (count * 16 < this.#chunkBytes) {
      this.#chunkBytes = Math.max(this.#chunkBytes / 2, MIN_CHUNK_BYTES);
    }
  }

  /** Appends a chunk that is already filled. */
  adopt(chunk: Uint8Array): void {
    if (this.isLost) this.#forgetLost();
    if (this.#rest === 0) {
      this.#chunk = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      this.#isViewed = true;
      return;
    }
    if (this.#chunk.length - this.#end < chunk.length) this.#renew(chunk.length);
    this.#chunk.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /**
   * Appends complete messages. Deliver those that it has appended also if it throws.
   *
   * @returns Whether the bytes that have come may contain more.
   */
  decode(messages: T[]): boolean {
    const count = messages.length;
    if (this.isLost) this.#forgetLost();
    if (this.isSkipping && !this.#skip()) return false;
    this.#batchStart = this.#start;
    try {
      return this.#decodeBatch(messages);
    } finally {
      if (messages.length > count) this.#separate(messages, count);
    }
  }

  /** Copies the messages from one on, or notes that they are views of the chunk. */
  #separate(messages: T[], from: number): void {
    if (this.#isViewed || this.#contents === "none") return;
    const average = (this.#start - this.#batchStart) / (messages.length - from);
    this.#isViewed = this.#contents === "views" || average < COPIED_BYTES;
    if (this.#isViewed) return;
    for (let i = from; i < messages.length; i++) {
      const copy = (messages[i] as Uint8Array).slice();
      countAllocated(copy.length);
      messages[i] = copy as T;
    }
  }

  #decodeBatch(messages: T[]): boolean {
    const most = messages.length + MAX_BATCH_MESSAGES;
    let slice = this.#sliceBytes;
    while (this.#rest >= this.#needed) {
      if (messages.length >= most) return true;
      if (this.#isLarge) this.#expected = Math.min(this.#needed, TRUSTED_BYTES);
      const before = messages.length;
      const size = Math.min(this.#rest, Math.max(this.#needed, this.#scanned) + slice);
      const bytes = this.#chunk.subarray(this.#start, this.#start + size);
      try {
        this.#decodeSlice(bytes, messages, slice > this.#sliceBytes);
      } catch (error) {
        if (!this.#maySkip(error)) throw error;
        // Those before it are delivered first.
        this.#skipped = 0;
        return true;
      }
      const found = messages.length - before;
      if (found > 2 * WORTHWHILE_MESSAGES) this.#sliceBytes = MIN_SLICE_BYTES;
      else if (found > 0 && found < WORTHWHILE_MESSAGES) {
        this.#sliceBytes = Math.min(2 * this.#sliceBytes, MAX_SLICE_BYTES);
      }
      // If a message has no end so far, the next slice is twice as large.
      slice = found === 0 ? 2 * slice : this.#sliceBytes;
    }
    return false;
  }

  /** Appends the messages of a slice, or only the first one. */
  #decodeSlice(bytes: Uint8Array, messages: T[], onlyOne: boolean): void {
    const codec = this.#codec;
    let scanned = this.#scanned;
    if (codec.decodeAll !== undefined && !onlyOne) {
      const end = codec.decodeAll(bytes, scanned, messages);
      if (end !== 0) {
        bytes = this.#take(bytes, end, "decodeAll");
        scanned = 0;
      }
    }
    while (bytes.length > 0) {
      const found = codec.decode(bytes, scanned);
      if (typeof found !== "object") return this.#wait(bytes.length, found);
      bytes = this.#take(bytes, found.end, "decode");
      messages.push(found.message);
      scanned = 0;
      if (onlyOne) break;
    }
    this.#scanned = 0;
    this.#needed = 1;
  }

  /** Makes a message of the bytes that are left at the peer's end of file, if they are one. */
  finish(messages: T[]): void {
    if (this.isLost) this.#forgetLost();
    const rest = this.#chunk.subarray(this.#start, this.#end);
    if (this.#skipped !== undefined) this.#codec.skip?.(NOTHING, this.#skipped);
    if (rest.length === 0) return;
    if (this.#codec.finish === undefined) {
      throw truncated(rest, this.#isAnnounced ? this.#needed : undefined);
    }
    try {
      messages.push(this.#codec.finish(rest));
    } catch (error) {
      if (!this.#maySkip(error)) throw error;
      this.#codec.skip?.(NOTHING, rest.length);
    }
    this.#start = this.#end;
  }

  /** Returns all bytes after the first messages of the last batch, which are decoded again. */
  bytesAfter(messages: number): Uint8Array {
    if (this.isLost) this.#forgetLost();
    let bytes = this.#chunk.subarray(this.#batchStart, this.#end);
    for (let i = 0; i < messages; i++) {
      if (bytes.length === 0) break;
      const found = this.#codec.decode(bytes, 0);
      // A message of finish() has all bytes.
      bytes = typeof found === "object" ? bytes.subarray(found.end) : NOTHING;
    }
    return bytes;
  }

  #maySkip(error: unknown): boolean {
    return this.#codec.skip !== undefined && error instanceof MessageTooLarge;
  }

  /** Drops what has come of a message that is too large. Reports whether that is all of it. */
  #skip(): boolean {
    // The codec may call detach(). In decode() this would slow down messages that are not skipped.
    this.#batchStart = this.#start;
    const bytes = this.#chunk.subarray(this.#start, this.#end);
    const skipped = this.#skipped ?? 0;
    const end = this.#codec.skip?.(bytes, skipped);
    this.#take(bytes, end ?? bytes.length, "skip");
    this.#skipped = end === undefined ? skipped + bytes.length : undefined;
    this.#scanned = 0;
    this.#needed = 1;
    if (end !== undefined) return true;
    // What comes of it from now on overwrites itself, in a chunk that has nothing else.
    if (skipped === 0) this.#chunk = NOTHING;
    this.#start = this.#end = 0;
    return false;
  }

  #take(bytes: Uint8Array, end: number, method: string): Uint8Array {
    if (!Number.isInteger(end) || end <= 0 || end > bytes.length) {
      throw new TypeError(
        `Invalid codec: ${method}() took ${show(end)} of ${bytes.length} bytes`,
      );
    }
    this.#start += end;
    return end === bytes.length ? NOTHING : bytes.subarray(end);
  }

  /** Notes how many bytes the incomplete message needs: those that it announced, or one more. */
  #wait(length: number, announced: number | undefined): void {
    const { maxBytes } = this.#codec;
    const size = Math.max(announced ?? 0, length);
    if (size > maxBytes + EXCESS_BYTES) throw tooLarge("decode", size, maxBytes);
    this.#needed = Math.max(size, length + 1);
    this.#scanned = size > length ? 0 : length;
  }

  /** Continues in a new chunk, with the incomplete message and room for at least so many bytes. */
  #renew(least: number): void {
    const rest = this.#rest;
    // Twice the rest, so that copies stay in proportion to what came. A peer that announces much
    // and sends little gets little memory.
    const announced = Math.min(this.#needed, Math.max(TRUSTED_BYTES, 4 * rest));
    const usual = this.#isLarge ? announced : this.#expected || this.#chunkBytes;
    const size = Math.max(usual, announced, 2 * rest, rest + least);
    if (!this.#isViewed && this.#chunk.length >= size) {
      this.#chunk.copyWithin(0, this.#start, this.#end);
    } else {
      const chunk = readBuffer(size);
      chunk.set(this.#chunk.subarray(this.#start, this.#end));
      this.#chunk = chunk;
      // An idle channel does not hold what a large message needed.
      this.#isViewed = !this.#reuse && size > MAX_CHUNK_BYTES;
    }
    this.#start = 0;
    this.#end = rest;
    this.#expected = 0;
  }
}
