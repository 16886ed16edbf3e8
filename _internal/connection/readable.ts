/**
 * The `readable` of a connection: a byte stream, each pull of which is one read of the connection.
 *
 * A read cannot be taken back, so it may outlive the reader that asked for it:
 *
 * ```
 *           pull                 bytes come
 *   idle ──────────▶ reading ─────────────────▶ idle   The reader gets them, if there is one.
 *                       │        bytes come
 *                       └──────▶ cancelled ────▶       They go back to the connection.
 *                       cancel()
 * ```
 *
 * Bytes in a stream without a reader go back to the connection too. The next `read()` or the next
 * reader gets them, whichever comes first. Neither locks the stream for the other.
 */

import { seen, showCallers } from "../base/caller_stack.ts";
import { ChunkBuffer } from "./chunk_buffer.ts";
import { concat } from "./input.ts";
import { addPipeSource } from "./pipe.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The reading side of a connection. */
interface Source {
  /** Reads as `Connection.read()` does. */
  read(into: Uint8Array): Promise<number | null>;
  /** Takes bytes back. They are read before all others. */
  putBack(bytes: Promise<Uint8Array>): void;
  /** Called when the stream is cancelled. */
  giveUp(): void;
}

const NOTHING: Uint8Array = new Uint8Array(0);

/** The readable stream of a connection. */
export class ReadableSide {
  readonly stream: ReadableStream<Bytes>;
  readonly #source: Source;
  readonly #buffer = new ChunkBuffer();
  #controller!: ReadableByteStreamController;
  /** The read under way, and the memory that it fills. */
  #reading: Promise<number | null> | undefined;
  #into: Uint8Array = NOTHING;
  /** The bytes of the read under way, if they were put back before they came. */
  #late: PromiseWithResolvers<Uint8Array> | undefined;
  /** Whether the stream has a reader with its own memory that was made by `getReader()`. */
  #hasByobReader = false;
  /** Whether the reader may have been released while the read filled its memory. */
  #mayBeReleased = false;
  #isCancelled = false;

  constructor(source: Source) {
    this.#source = source;
    this.stream = new ReadableStream({
      type: "bytes",
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#pull(),
      cancel: () => this.#cancel(),
    }, { highWaterMark: 0 });
    addPipeSource(this.stream);
    watchIterators(this.stream);
    watchReaders(this.stream, () => void (this.#hasByobReader = true), () => this.#released());
  }

  /** Whether the stream reads although nothing waits for the bytes. */
  get isAbandoned(): boolean {
    return this.#reading !== undefined && (this.#isCancelled || !this.stream.locked);
  }

  /**
   * Puts back what the stream holds, or what it is reading, unless it has a reader.
   *
   * @param padding How many bytes at the end are not the peer's.
   */
  handOver(padding = 0): void {
    if (this.#isCancelled || this.stream.locked) return;
    if (this.#reading === undefined) {
      if (this.#holdsBytes) this.#source.putBack(this.#takeAll(padding));
    } else if (this.#late === undefined) {
      this.#late = Promise.withResolvers();
      this.#source.putBack(this.#late.promise);
    }
  }

  get #holdsBytes(): boolean {
    return (this.#controller.desiredSize ?? 0) < 0;
  }

  /** Empties the stream. It is locked only while this runs. */
  async #takeAll(padding = 0): Promise<Uint8Array> {
    const reader = this.stream.getReader();
    const parts = [];
    while (this.#holdsBytes) parts.push(reader.read());
    reader.releaseLock();
    const bytes = concat((await Promise.all(parts)).map(({ value = NOTHING }) => value));
    return bytes.subarray(0, bytes.length - padding);
  }

  async #pull(): Promise<void> {
    const controller = this.#controller;
    const request = controller.byobRequest;
    const view = request?.view;
    const into = view
      ? new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset, view.byteLength)
      : this.#buffer.bytes;
    // The release of a reader that its constructor made cannot be seen.
    this.#mayBeReleased = !this.#hasByobReader;
    this.#into = into;
    this.#reading = this.#source.read(into);
    let count = null;
    try {
      count = await this.#reading;
    } finally {
      this.#reading = undefined;
      if (count === null) this.#give(NOTHING);
    }
    if (this.#isCancelled) return this.#give(into.slice(0, count ?? 0));
    if (count === null) {
      controller.close();
      controller.byobRequest?.respond(0);
    } else if (!view) {
      const chunk = this.#buffer.take(count);
      if (this.#late === undefined) controller.enqueue(chunk);
      this.#give(chunk);
    } else if (this.#mayBeReleased) {
      // A response to this request would not reach a reader without its own memory.
      controller.enqueue(into.slice(0, count));
    } else {
      request.respond(count);
    }
    if (this.#late === undefined) this.handOver();
    // The memory of the last reader may begin with earlier bytes, so the next reader goes first.
    else this.#give(this.stream.locked ? NOTHING : this.#takeAll());
    this.#replaceLeft();
  }

  /** Settles what was put back while it was read. */
  #give(bytes: Uint8Array | Promise<Uint8Array>): void {
    this.#late?.resolve(bytes);
    this.#late = undefined;
  }

  #released(): void {
    this.#hasByobReader = false;
    this.#mayBeReleased = true;
    this.#replaceLeft();
  }

  /** Replaces the request of a released reader that no pull will answer. */
  #replaceLeft(): void {
    const isLeft = this.#reading === undefined && this.#controller.byobRequest;
    if (!isLeft || this.#isCancelled || this.stream.locked) return;
    // The requests of the next reader would wait behind it. A chunk replaces it.
    this.#controller.enqueue(new Uint8Array(1));
    this.handOver(1);
  }

  #cancel(): void {
    this.#isCancelled = true;
    const into = this.#into;
    const bytes = this.#reading?.then((count) => into.slice(0, count ?? 0), () => NOTHING);
    if (bytes !== undefined && this.#late === undefined) this.#source.putBack(bytes);
    this.#source.giveUp();
  }
}

/** Makes the errors of all iterators begin where they are awaited. */
function watchIterators(stream: ReadableStream<Bytes>): void {
  const values = stream.values.bind(stream);
  stream.values = stream[Symbol.asyncIterator] = (options) => {
    const iterator = values(options);
    const next = iterator.next.bind(iterator);
    iterator.next = () => seen(next());
    return iterator;
  };
}

/**
 * Calls back when a reader with its own memory takes the stream, and when it releases it. Makes the
 * errors of all readers begin where they are awaited.
 */
function watchReaders(
  stream: ReadableStream<Bytes>,
  taken: () => void,
  released: () => void,
): void {
  const getReader = stream.getReader.bind(stream);
  stream.getReader = ((options: { mode: "byob" }) => {
    const reader = getReader(options);
    showCallers(reader, "read");
    if (reader instanceof ReadableStreamBYOBReader) {
      taken();
      reader.releaseLock = () => {
        ReadableStreamBYOBReader.prototype.releaseLock.call(reader);
        released();
      };
    }
    return reader;
  }) as typeof getReader;
}
