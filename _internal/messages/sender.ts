/**
 * The sending half of `Messages`.
 *
 * An answer, the first message after something has come, is written at the end of the current microtasks,
 * so that a round trip takes no longer than without messages. All others are written at the end of the
 * turn of the event loop, or when a block is full: a write of Deno's mostly ends within the turn, so that
 * waiting for the one before would gather nothing.
 */

import type { Codec } from "../../framing/codec.ts";
import type { ByteChannel, MessagesOptions } from "../../framing/messages.ts";
import { checkProgress, closedError, pathOf, startOf } from "./byte_channel.ts";
import { OutputBuffer, type Segment } from "./output.ts";
import { heardWithin, SilenceTimer } from "../base/silence.ts";
import { codeOf, stateOf, systemError } from "../base/failure.ts";

/** Somebody who waits until what was sent so far is written. */
interface Waiter {
  /** The number of bytes that are written then. */
  target: number;
  resolve(): void;
  reject(error: unknown): void;
}

/** How long a disposal waits for what was sent. */
const FLUSH_MS = 5000;

const DONE: Promise<void> = Promise.resolve();
const NOTHING: Uint8Array = new Uint8Array(0);

/** Writes messages to a connection. */
export class MessageSender<T> {
  readonly #conn: ByteChannel;
  readonly #codec: Codec<T>;
  readonly #maxPending: number;
  readonly #out = new OutputBuffer();
  #written = 0;
  /** What is still to be written of the segment that is being written. */
  #left = NOTHING;
  #writing = false;
  /** The block that is being filled is to be written as well. */
  #due = false;
  #scheduled = false;
  #immediate: ReturnType<typeof setImmediate> | undefined;
  /** Nothing was written yet in this turn of the event loop. */
  #atOnce = true;
  /** In the order of their targets. */
  readonly #waiters: Waiter[] = [];
  /** Resolves when less than `maxPending` bytes wait. */
  #below: PromiseWithResolvers<void> | undefined;
  /** Something that was sent is lost. */
  #failure: Error | undefined;
  /** No call has rejected with the failure. */
  #unreported = false;
  /** A call of receiving has rejected because the connection has failed. */
  #isKnown = false;
  #ended: "closeWrite()" | "close()" | undefined;
  #closeWrite: Promise<void> | undefined;
  /** Where there is a limit on how long a write may stand still. */
  readonly #stall: SilenceTimer | undefined;
  readonly #writeTimeout: number = Infinity;
  /** How many bytes of the connection were written when the write began, and when progress was last seen. */
  #bytesBefore = 0;
  #bytesSeen = 0;

  /** @param onTimeout Called with the failure when the peer has not read for too long. */
  constructor(
    conn: ByteChannel,
    codec: Codec<T>,
    { maxPending, writeTimeout = Infinity }: MessagesOptions & { maxPending: number },
    onTimeout: (failure: Error) => void,
  ) {
    this.#conn = conn;
    this.#codec = codec;
    this.#maxPending = maxPending;
    if (writeTimeout === Infinity) return;
    const stall = new SilenceTimer(() => {
      const bytes = this.#bytesWritten;
      if (bytes > this.#bytesSeen) {
        this.#bytesSeen = bytes;
        stall.start(writeTimeout);
        return;
      }
      const left = this.#left.subarray(bytes - this.#bytesBefore);
      onTimeout(this.#fail(timedOut(writeTimeout), left));
    });
    this.#stall = stall;
    this.#writeTimeout = writeTimeout;
  }

  send(message: T): Promise<void> {
    if (this.#failure !== undefined || this.#ended !== undefined) {
      this.#unreported = false;
      return rejected(this.#failure ?? closedError(this.#conn, "send", this.#ended as string));
    }
    const out = this.#out;
    try {
      out.append(this.#codec, message);
    } catch (error) {
      return rejected(error);
    }
    if (!this.#scheduled) this.#schedule();
    if (out.isSealed) {
      if (!this.#writing) this.#write();
      if (out.borrowed) return this.#whenWritten();
    }
    return this.#pending < this.#maxPending ? DONE : this.#whenBelow();
  }

  flush(): Promise<void> {
    if (this.#failure !== undefined) {
      this.#unreported = false;
      return rejected(this.#failure);
    }
    try {
      this.#out.checkIdle();
    } catch (error) {
      return rejected(error);
    }
    if (this.#pending === 0) return DONE;
    const written = this.#whenWritten();
    this.#writeAll();
    return written;
  }

  closeWrite(): Promise<void> {
    if (this.#ended === "close()") return rejected(closedError(this.#conn, "send", this.#ended));
    try {
      this.#out.checkIdle();
    } catch (error) {
      return rejected(error);
    }
    this.#ended = "closeWrite()";
    return this.#closeWrite ??= handled(this.flush().then(() => this.#conn.closeWrite?.()));
  }

  /** Gives up what is not written. */
  close(): void {
    this.#ended = "close()";
    clearImmediate(this.#immediate);
    const unsent = this.#takeUnsent(this.#left);
    if (this.#failure !== undefined || unsent.length === 0) return;
    this.#failure = closedError(this.#conn, "send", this.#ended, unsent);
    this.#rejectWaiters(this.#failure);
  }

  /** Waits until everything is written. Gives the error that no call has reported, if there is one. */
  async finish(): Promise<Error | undefined> {
    if (this.#failure === undefined && this.#pending > 0) {
      const alone = this.#waiters.length === 0 && this.#below === undefined;
      const flushed = new AbortController();
      const stop = () => flushed.abort();
      this.flush().then(stop, stop);
      await heardWithin(FLUSH_MS, flushed.signal);
      if (this.#ended === "close()") return undefined;
      if (this.#pending > 0) this.#fail(timedOut(FLUSH_MS), this.#left);
      this.#unreported = alone && !this.#isKnown && this.#failure !== undefined;
    }
    return this.#unreported ? this.#failure : undefined;
  }

  /**
   * The user knows of a failure of receiving.
   *
   * @param isFinal Whether the connection has failed: sending then fails for the same reason.
   */
  reported(isFinal: boolean): void {
    this.#unreported = false;
    if (isFinal) this.#isKnown = true;
  }

  /** A turn of the event loop has begun: something came. */
  turned(): void {
    this.#atOnce = true;
  }

  /** Bytes that the connection has not taken. */
  get #pending(): number {
    return this.#left.length + this.#out.size;
  }

  #whenWritten(): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    this.#waiters.push({ target: this.#written + this.#pending, resolve, reject });
    return handled(promise);
  }

  #whenBelow(): Promise<void> {
    if (this.#below === undefined) {
      this.#below = Promise.withResolvers();
      handled(this.#below.promise);
    }
    return this.#below.promise;
  }

  #schedule(): void {
    this.#scheduled = true;
    if (this.#atOnce) queueMicrotask(this.#writeScheduled);
    else this.#immediate = setImmediate(this.#writeScheduled);
  }

  readonly #writeScheduled = (): void => {
    this.#scheduled = false;
    this.#writeAll();
  };

  #writeAll(): void {
    if (this.#out.size === 0) return;
    this.#due = true;
    if (!this.#writing) this.#write();
  }

  /** Writes what is full, and what is due. */
  async #write(): Promise<void> {
    this.#writing = true;
    try {
      let segment: Segment | undefined;
      while ((segment = this.#out.take(this.#due)) !== undefined) {
        if (this.#out.size === 0) this.#due = false;
        this.#atOnce = false;
        this.#left = segment.bytes;
        while (this.#left.length > 0) {
          const writing = this.#conn.write(this.#left);
          const count = await (this.#stall === undefined ? writing : this.#inTime(writing));
          if (this.#ended === "close()" || this.#failure !== undefined) return;
          checkProgress("write()", count, this.#left.length);
          this.#left = this.#left.subarray(count);
          this.#written += count;
        }
        this.#out.release(segment);
        this.#resolveWaiters();
      }
    } catch (cause) {
      if (this.#ended !== "close()" && this.#failure === undefined) {
        this.#fail(cause, (cause as { unsent?: Uint8Array } | null)?.unsent ?? this.#left);
      }
    } finally {
      this.#writing = false;
    }
  }

  async #inTime(writing: Promise<number>): Promise<number> {
    const stall = this.#stall as SilenceTimer;
    this.#bytesBefore = this.#bytesSeen = this.#bytesWritten;
    stall.start(this.#writeTimeout);
    try {
      return await writing;
    } finally {
      stall.stop();
    }
  }

  /** Bytes that the connection has written, where it counts them: a write may make progress meanwhile. */
  get #bytesWritten(): number {
    const { bytesWritten } = this.#conn as { bytesWritten?: unknown };
    return typeof bytesWritten === "number" ? bytesWritten : 0;
  }

  #resolveWaiters(): void {
    const waiters = this.#waiters;
    while (waiters.length > 0 && waiters[0]!.target <= this.#written) waiters.shift()!.resolve();
    if (this.#below !== undefined && this.#pending < this.#maxPending) {
      this.#below.resolve();
      this.#below = undefined;
    }
  }

  #rejectWaiters(error: Error): void {
    for (const { reject } of this.#waiters.splice(0)) reject(error);
    this.#below?.reject(error);
    this.#below = undefined;
  }

  #fail(cause: unknown, left: Uint8Array): Error {
    const unsent = this.#takeUnsent(left);
    // A write that timed out has counted its own bytes.
    const root = codeOf(cause) === "ETIMEDOUT" ? rootOf(cause) : cause;
    this.#failure = systemError(
      startOf("send to", this.#conn),
      cause,
      { operation: "send", path: pathOf(this.#conn), unsent },
      `${stateOf(root)}, and ${unsent.length} bytes of messages were not sent`,
    );
    this.#unreported = !this.#isKnown && this.#waiters.length === 0 && this.#below === undefined;
    this.#rejectWaiters(this.#failure);
    return this.#failure;
  }

  /** Everything that the connection has not taken, in one. */
  #takeUnsent(left: Uint8Array): Uint8Array {
    const unsent = new Uint8Array(left.length + this.#out.size);
    unsent.set(left);
    let at = left.length;
    for (let segment; (segment = this.#out.take(true)) !== undefined;) {
      unsent.set(segment.bytes, at);
      at += segment.bytes.length;
    }
    this.#left = NOTHING;
    return unsent;
  }
}

function timedOut(ms: number): Error {
  const cause = new Deno.errors.TimedOut(`the peer did not read for ${ms} ms`);
  return Object.assign(cause, { code: "ETIMEDOUT" });
}

/** The error that began a chain of causes. */
function rootOf(error: unknown): unknown {
  while (error instanceof Error && error.cause !== undefined) error = error.cause;
  return error;
}

function rejected(error: unknown): Promise<never> {
  return handled(Promise.reject(error));
}

/** A rejection that nobody awaits must not end the process. */
function handled<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
