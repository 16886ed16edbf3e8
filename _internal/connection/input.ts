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
 *   own memory. If it is aborted, they stay ahead for the next read.
 * - Bytes may be kept ahead while nothing reads, up to a limit: then the end of file is noticed.
 * - What is ahead is a list of parts. Each is there or on its way, so bytes that are put back late
 *   have their place before those that come.
 * - One read of the kernel fills at a time. An aborted read leaves nothing behind.
 */

import { onAbort } from "../base/event_loop.ts";
import { readBuffer } from "../base/read_buffer.ts";

/** The reading side of the kernel. */
interface Source {
  /** Reports whether a read may bring bytes. */
  mayRead(): boolean;
  /** Reports whether bytes may be kept ahead. */
  mayKeep(): boolean;
  /** Reads as `Connection.read()` does. */
  read(into: Uint8Array): Promise<number | null>;
  /** Called when the limit is reached, or the end of file, while nothing reads. */
  stalled(): void;
}

/** A read that waits for bytes ahead. */
interface WaitingRead {
  readonly into: Uint8Array;
  /** Whether it may be aborted. */
  readonly isAbortable: boolean;
  settle(count: number | Promise<number | null>): void;
}

/** Bytes that come before the reads that were called later. */
interface PutBack {
  readonly bytes: Promise<Uint8Array>;
}

/** Bytes ahead: `undefined` while they are on their way. */
interface Part {
  bytes: Uint8Array | undefined;
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
  /** The bytes ahead, in order. No two neighbors are there, and none is empty. */
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

  /** Reads, after all reads that wait. */
  read(into: Uint8Array, signal?: AbortSignal): Promise<number | null> {
    const isFree = this.#ahead.length === 0 && this.#waiting.length === 0;
    if (isFree && signal === undefined) return this.#readDirectly(into);
    const { promise, resolve, reject } = Promise.withResolvers<number | null>();
    const stopListening = onAbort(signal, () => {
      const place = this.#waiting.indexOf(waiting);
      if (place < 0) return;
      this.#waiting.splice(place, 1);
      reject(signal?.reason);
    });
    const waiting: WaitingRead = {
      into,
      isAbortable: signal !== undefined,
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

  /** Keeps nothing more ahead. */
  stop(): void {
    this.#limit = 0;
    clearTimeout(this.#timer);
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
      } else if (part !== undefined) {
        if (part.bytes === undefined) return;
        this.#waiting.shift();
        next.settle(this.#take(part.bytes, next.into));
      } else if (next.isAbortable && this.#source.mayRead()) {
        this.#fill(Math.min(next.into.length, MAX_FILL_BYTES));
      } else {
        this.#waiting.shift();
        next.settle(this.#readDirectly(next.into));
      }
    }
  }

  #fillAhead(): void {
    if (this.#limit === 0 || this.#isComing || this.#isRead) return;
    const length = this.#ahead[0]?.bytes?.length ?? 0;
    const room = this.#limit - length;
    if (room === 0 || !this.#source.mayKeep()) return this.#source.stalled();
    this.#fill(Math.min(Math.max(MIN_FILL_BYTES, length), room));
  }

  /** Begins one more read of the kernel, behind all that is ahead. */
  #fill(size: number): void {
    if (this.#ahead.length > 0 || this.#memory.length < size) this.#memory = readBuffer(size);
    const memory = this.#memory.subarray(0, size);
    const last = { bytes: undefined };
    this.#ahead.push(last);
    const reading = this.#source.read(memory);
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
      if (part.bytes === undefined || last?.bytes === undefined) {
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
  #take(bytes: Uint8Array, into: Uint8Array): number {
    const count = Math.min(into.length, bytes.length);
    into.set(bytes.subarray(0, count));
    if (count === bytes.length) this.#ahead.shift();
    else this.#ahead[0]!.bytes = bytes.subarray(count);
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
