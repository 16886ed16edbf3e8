/**
 * The reads of a connection, in the order of the calls, and the bytes that are ahead of them.
 *
 * ```
 *            nothing ahead, nothing waits
 *   read() ──────────────────────────────▶ the kernel, straight into the caller's buffer
 *      │                                        │ bytes into memory of our own
 *      └──▶ waiting ◀── bytes ahead ◀───────────┘
 *              │            ▲
 *              ▼ abort      └── put back by a stream
 *           leaves the queue
 * ```
 *
 * - A read of the kernel cannot be taken back. So a read that may be aborted waits for bytes in our
 *   own memory. If it is aborted, they stay ahead for the next read. So does one that takes
 *   attachments.
 * - Bytes may be kept ahead while nothing reads, up to a limit: then the end of file is noticed.
 * - What is ahead is a list of parts. Each is there or on its way, so bytes that are put back late
 *   have their place before those that come.
 * - One read of the kernel fills at a time. An aborted read leaves nothing behind.
 */

import { onAbort } from "../base/event_loop.ts";
import { readBuffer } from "../base/read_buffer.ts";

/** What came with bytes and is not bytes: descriptors. */
export interface Attachment {
  /** Why a reader that wants it cannot have it. The bytes are then left to the next read. */
  readonly failure?: Error | undefined;
  /** Called if no reader wants it. */
  close(): void;
}

/** Takes what came with the bytes of a read. */
export type Keep = (attachment: Attachment) => void;

/** The reading side of the kernel. */
interface Source {
  /** Reports whether a read may bring bytes. */
  mayRead(): boolean;
  /** Reports whether bytes may be kept ahead. */
  mayKeep(): boolean;
  /** Reads as `Connection.read()` does. Without `keep`, attachments are closed. */
  read(into: Uint8Array, keep?: Keep): Promise<number | null>;
  /** Called when the limit is reached, or the end of file, while nothing reads. */
  stalled(): void;
}

/** A read that waits for bytes ahead. */
interface WaitingRead {
  readonly into: Uint8Array;
  /** Whether it waits for bytes ahead, and not for the kernel. */
  readonly isFilled: boolean;
  /** Takes attachments, if the reader wants them. */
  readonly keep: Keep | undefined;
  settle(count: number | Promise<number | null>): void;
}

/** Bytes that come before the reads that were called later. */
interface PutBack {
  readonly bytes: Promise<Uint8Array>;
}

/** Bytes ahead: `undefined` while they are on their way. */
interface Part {
  bytes: Uint8Array | undefined;
  /** What came with them. Such a part stays by itself. */
  attachment?: Attachment | undefined;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** The least and the most memory for one read of our own. */
const MIN_FILL_BYTES = 4 * 1024;
const MAX_FILL_BYTES = 64 * 1024;

/** How long to wait after a read before bytes are kept ahead: most readers read again at once. */
const REST_MS = 5;

/** The reads of a connection. */
export class Input {
  readonly #source: Source;
  readonly #waiting: (WaitingRead | PutBack)[] = [];
  /** The bytes ahead, in order. None is empty, and no two neighbors could be joined. */
  #ahead: Part[] = [];
  /** The memory of the last fill. */
  #memory: Uint8Array = NOTHING;
  /** How many bytes to keep ahead while nothing reads. */
  #limit = 0;
  /** How many reads of the kernel are under way, counted while bytes are kept ahead. */
  #direct = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  /** Whether bytes are kept ahead, and no more can come: the limit or the end is reached. */
  get isStalled(): boolean {
    return this.#limit > 0 && !this.#isComing && !this.#isRead;
  }

  /** Whether any bytes ahead are on their way. */
  get #isComing(): boolean {
    return this.#ahead.some(({ bytes }) => bytes === undefined);
  }

  get #isRead(): boolean {
    return this.#direct > 0 || this.#waiting.length > 0;
  }

  /** Reads, after all reads that wait. Closes what came with the bytes, unless it is kept. */
  read(into: Uint8Array, signal?: AbortSignal, keep?: Keep): Promise<number | null> {
    const isFree = this.#ahead.length === 0 && this.#waiting.length === 0;
    // One that is aborted, or fails because of its attachment, leaves the bytes to the next one.
    const isFilled = signal !== undefined || keep !== undefined;
    if (isFree && !isFilled) return this.#readDirectly(into);
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    const stopListening = onAbort(signal, () => {
      const place = this.#waiting.indexOf(waiting);
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      reject(signal?.reason);
    });
    const waiting: WaitingRead = {
      into,
      isFilled,
      keep,
      settle(count) {
        stopListening();
        resolve(count);
      },
    };
    this.#waiting.push(waiting);
    this.#advance();
    return promise;
  }

  /**
   * Takes bytes back. They are read before whatever comes, and before those that were taken back
   * earlier.
   */
  putBack(bytes: Uint8Array | Promise<Uint8Array>): void {
    if (bytes instanceof Promise) {
      this.#waiting.push({ bytes });
    } else {
      this.#ahead.unshift({ bytes });
      this.#join();
    }
    this.#advance();
  }

  /** Keeps up to 64 KiB ahead from here on, while nothing reads. */
  keepAhead(): void {
    this.#limit = MAX_FILL_BYTES;
    this.#fillAhead();
  }

  /** Keeps nothing more ahead, and closes the attachments. */
  stop(): void {
    this.#limit = 0;
    clearTimeout(this.#timer);
    for (const part of this.#ahead) {
      part.attachment?.close();
      part.attachment = undefined;
    }
  }

  #readDirectly(into: Uint8Array): Promise<number | null> {
    const reading = this.#source.read(into);
    if (this.#limit > 0) {
      this.#direct++;
      const rest = () => {
        this.#direct--;
        this.#rest();
      };
      reading.then(rest, rest);
    }
    return reading;
  }

  /** Fills what is ahead, if no read follows soon. */
  #rest(): void {
    if (this.#limit === 0 || this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#fillAhead();
    }, REST_MS);
  }

  /** Serves the reads that can be served, and asks for what the next one needs. */
  #advance(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined) return this.#rest();
      const [part] = this.#ahead;
      if ("bytes" in next) {
        this.#waiting.shift();
        const late = { bytes: undefined };
        this.#ahead.unshift(late);
        this.#await(late, next.bytes);
      } else if (next.into.length === 0) {
        // Its buffer was detached, or resized to nothing, while it waited.
        this.#waiting.shift();
        next.settle(this.#source.read(next.into));
      } else if (part !== undefined) {
        if (part.bytes === undefined) return;
        this.#waiting.shift();
        next.settle(this.#take(part, part.bytes, next));
      } else if (next.isFilled && this.#source.mayRead()) {
        this.#fill(Math.min(next.into.length, MAX_FILL_BYTES));
      } else {
        this.#waiting.shift();
        next.settle(this.#readDirectly(next.into));
      }
    }
  }

  #fillAhead(): void {
    if (this.#limit === 0 || this.#isComing || this.#isRead) return;
    const length = this.#ahead.reduce((sum, { bytes }) => sum + (bytes?.length ?? 0), 0);
    const room = this.#limit - length;
    // A hostile peer could send descriptors with each byte.
    const isFull = room === 0 || this.#ahead.at(-1)?.attachment !== undefined;
    if (isFull || !this.#source.mayKeep()) return this.#source.stalled();
    this.#fill(Math.min(Math.max(MIN_FILL_BYTES, length), room));
  }

  /** Begins one more read of the kernel, behind all that is ahead. */
  #fill(size: number): void {
    if (this.#ahead.length > 0 || this.#memory.length < size) this.#memory = readBuffer(size);
    const memory = this.#memory.subarray(0, size);
    const last: Part = { bytes: undefined };
    this.#ahead.push(last);
    const reading = this.#source.read(memory, (attachment) => last.attachment = attachment);
    this.#await(last, reading.then((count) => memory.subarray(0, count ?? 0)));
  }

  /** Waits for a part of what is ahead. */
  async #await(part: Part, coming: Promise<Uint8Array>): Promise<void> {
    try {
      part.bytes = await coming;
    } catch (error) {
      part.bytes = NOTHING;
      // A failure that does not end the connection would come again and again.
      if (this.#source.mayRead()) this.#fail(error);
    }
    this.#join();
    this.#advance();
  }

  /** Makes one part of neighbors that are there. */
  #join(): void {
    const parts = this.#ahead;
    this.#ahead = [];
    for (const part of parts) {
      const last = this.#ahead.at(-1);
      const isApart = (last?.attachment ?? part.attachment) !== undefined;
      if (part.bytes === undefined || last?.bytes === undefined || isApart) {
        if (part.bytes?.length !== 0) this.#ahead.push(part);
      } else last.bytes = concat([last.bytes, part.bytes]);
    }
  }

  #fail(error: unknown): void {
    this.#limit = 0;
    const [first] = this.#waiting;
    if (first === undefined || "bytes" in first) return;
    this.#waiting.shift();
    first.settle(Promise.reject(error));
  }

  /** Takes from the beginning of the first part. */
  #take(part: Part, bytes: Uint8Array, { into, keep }: WaitingRead): number | Promise<never> {
    const { attachment } = part;
    if (keep !== undefined && attachment?.failure !== undefined) {
      part.attachment = undefined;
      attachment.close();
      return Promise.reject(attachment.failure);
    }
    const count = Math.min(into.length, bytes.length);
    into.set(bytes.subarray(0, count));
    const isAll = count === bytes.length;
    if (isAll) this.#ahead.shift();
    else part.bytes = bytes.subarray(count);
    // The kernel does not report the byte that it came with: the first one may be it, or the last.
    if (attachment !== undefined && (isAll || keep !== undefined)) {
      part.attachment = undefined;
      if (keep !== undefined) keep(attachment);
      else attachment.close();
    }
    return count;
  }
}

/** Returns the bytes of all parts, in order. */
export function concat(parts: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
