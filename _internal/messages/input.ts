/**
 * What has come and is no message yet.
 *
 * - A chunk is filled further and further and never overwritten, so that messages can be views of it.
 * - Messages are decoded by the hundred: a peer that sends tiny ones could otherwise make as many objects
 *   of one chunk as it has bytes, and keep everybody else waiting meanwhile.
 * - Bytes are copied only where a message goes on in a new chunk; of a large message whose size is known
 *   only what came with its beginning.
 */

import type { Codec } from "../../framing/codec.ts";
import { tooLarge, truncated } from "./codec_support.ts";
import { show } from "../base/check.ts";
import { readBuffer } from "../base/read_buffer.ts";

/** Chunks grow with what comes, between these sizes. */
const MIN_CHUNK = 16 * 1024;
const MAX_CHUNK = 256 * 1024;
/** What an incomplete message may have beyond its codec's limit, before the codec is not asked any more. */
const SLACK = 64 * 1024;
/** What is given to a message at once because it says that it is so large: a mebibyte with its frame. */
const TRUSTED = 1024 * 1024 + SLACK;

/** So many messages are enough for once: what is done with them may take longer than to decode them. */
const ENOUGH = 128;
/** So many bytes are decoded at once, more where messages are long; there may be as many messages in them. */
const MIN_SLICE = 1024;
const MAX_SLICE = 8192;
/** So many messages of a slice are worth what a slice costs; twice as many make it smaller. */
const WORTH = 64;

const NOTHING: Uint8Array = new Uint8Array(0);

/** The input of a channel or a stream. */
export class InputBuffer<T> {
  readonly #codec: Codec<T>;
  readonly #reuse: boolean;
  #chunk: Uint8Array = NOTHING;
  #start = 0;
  #end = 0;
  /** How many bytes the codec has searched in vain for the end of the message. */
  #scanned = 0;
  /** How many bytes there must be before it is asked again. */
  #needed = 1;
  /** Whether the codec has said that it needs so many. */
  #announced = false;
  #size = MIN_CHUNK;
  #slice = MIN_SLICE;
  /** The size of the last message, if it was large: the next one may be so too. */
  #expected = 0;
  #offered = 0;

  /** @param reuse Whether nobody has a message any more when there is to be room for the next. */
  constructor(codec: Codec<T>, reuse = false) {
    this.#codec = codec;
    this.#reuse = reuse;
  }

  /** The number of bytes of the incomplete message. */
  get rest(): number {
    return this.#end - this.#start;
  }

  /** Where the next bytes are to be put; {@linkcode filled} tells their number. */
  room(): Uint8Array {
    if (this.#reuse && this.rest === 0) this.#start = this.#end = 0;
    const large = this.#announced && this.#needed > MAX_CHUNK;
    const free = this.#chunk.length - this.#end;
    const tight = large
      ? free === 0 || this.#chunk.length - this.#start < Math.min(this.#needed, TRUSTED)
      : free < this.#size >> 2;
    if (tight) this.#renew(0);
    // The message after a large one begins in a chunk of its own: it has not to be copied out of this one.
    const end = large ? this.#start + this.#needed : this.#chunk.length;
    const room = this.#chunk.subarray(this.#end, end);
    this.#offered = room.length;
    return room;
  }

  /** Takes note of bytes that were put into the room. */
  filled(count: number): void {
    this.#end += count;
    if (count === this.#offered) this.#size = Math.min(2 * this.#size, MAX_CHUNK);
    else if (count * 16 < this.#size) this.#size = Math.max(this.#size / 2, MIN_CHUNK);
  }

  /** Takes a chunk over that somebody else has filled. */
  adopt(chunk: Uint8Array): void {
    if (this.rest === 0) {
      this.#chunk = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      return;
    }
    if (this.#chunk.length - this.#end < chunk.length) this.#renew(chunk.length);
    this.#chunk.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /**
   * Appends messages that are complete. What it has appended before it throws is to be delivered.
   *
   * @returns Whether there may be more, in what is there already.
   */
  decode(messages: T[]): boolean {
    const enough = messages.length + ENOUGH;
    let slice = this.#slice;
    while (this.rest >= this.#needed) {
      if (messages.length >= enough) return true;
      if (this.#announced && this.#needed > MAX_CHUNK) {
        this.#expected = Math.min(this.#needed, TRUSTED);
      }
      const before = messages.length;
      const size = Math.min(this.rest, Math.max(this.#needed, this.#scanned) + slice);
      const bytes = this.#chunk.subarray(this.#start, this.#start + size);
      this.#decode(bytes, messages, slice > this.#slice);
      const found = messages.length - before;
      if (found > 2 * WORTH) this.#slice = MIN_SLICE;
      else if (found > 0 && found < WORTH) this.#slice = Math.min(2 * this.#slice, MAX_SLICE);
      // A message without an end so far: of what follows it twice as much each time.
      slice = found === 0 ? 2 * slice : this.#slice;
    }
    return false;
  }

  /** Appends the messages of a slice, or only the first one. */
  #decode(bytes: Uint8Array, messages: T[], onlyOne: boolean): void {
    const codec = this.#codec;
    let scanned = this.#scanned;
    this.#announced = false;
    if (codec.decodeAll !== undefined && !onlyOne) {
      const end = codec.decodeAll(bytes, scanned, messages);
      if (end !== 0) {
        bytes = this.#take(bytes, end, "decodeAll");
        scanned = 0;
      }
    }
    while (bytes.length > 0) {
      const result = codec.decode(bytes, scanned);
      if (typeof result !== "object") {
        this.#wait(bytes.length, result);
        return;
      }
      bytes = this.#take(bytes, result.end, "decode");
      messages.push(result.message);
      scanned = 0;
      if (onlyOne) break;
    }
    this.#scanned = 0;
    this.#needed = 1;
  }

  /** The peer's end of file: makes a message of what is left, if it is one. */
  finish(messages: T[]): void {
    const rest = this.#chunk.subarray(this.#start, this.#end);
    if (rest.length === 0) return;
    if (this.#codec.finish === undefined) {
      throw truncated(rest, this.#announced ? this.#needed : undefined);
    }
    messages.push(this.#codec.finish(rest));
    this.#start = this.#end;
  }

  #take(bytes: Uint8Array, end: number, method: string): Uint8Array {
    if (!Number.isInteger(end) || end <= 0 || end > bytes.length) {
      throw new TypeError(
        `Invalid codec: ${method}() took ${show(end)} of ${bytes.length} bytes`,
      );
    }
    this.#start += end;
    return bytes.subarray(end);
  }

  #wait(length: number, needed: number | undefined): void {
    const { maxBytes } = this.#codec;
    const size = Math.max(needed ?? 0, length);
    if (size > maxBytes + SLACK) throw tooLarge("decode", size, maxBytes);
    this.#announced = needed !== undefined && needed > length;
    this.#needed = this.#announced ? needed as number : length + 1;
    this.#scanned = this.#announced ? 0 : length;
  }

  /** Goes on in a new chunk, with what there is of a message and room for so many bytes at least. */
  #renew(least: number): void {
    const rest = this.rest;
    // Twice what there is, so that the copies are in proportion to what came. Of what a message says that
    // it will have, not everything at once: a peer that announces much and sends little gets little.
    const announced = Math.min(this.#needed, Math.max(TRUSTED, 4 * rest));
    const size = Math.max(this.#size, this.#expected, announced, 2 * rest, rest + least);
    if (this.#reuse && this.#chunk.length >= size) {
      this.#chunk.copyWithin(0, this.#start, this.#end);
    } else {
      const chunk = readBuffer(size);
      chunk.set(this.#chunk.subarray(this.#start, this.#end));
      this.#chunk = chunk;
    }
    this.#start = 0;
    this.#end = rest;
    this.#expected = 0;
  }
}
