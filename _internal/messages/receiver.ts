/**
 * The receiving half of `Messages`.
 *
 * Messages are decoded by the hundred, and given in order to those who wait; where one read brings more,
 * everybody else of the process has a turn before the next ones. Nothing is read before somebody waits; a
 * read cannot be taken back, so what it brings after they have given up is kept for the next one.
 */

import type { Codec } from "../../framing/codec.ts";
import type { ByteChannel, MessagesOptions, ReceiveOptions } from "../../framing/messages.ts";
import { checkProgress, closedError, pathOf, startOf } from "./byte_channel.ts";
import { onAbort, othersTurn } from "../base/event_loop.ts";
import { InputBuffer } from "./input.ts";
import { checkOptions, type Checks, checkSignal } from "../base/check.ts";
import type { MessageSender } from "./sender.ts";
import { afterPolling, SilenceTimer } from "../base/silence.ts";
import { systemError } from "../base/failure.ts";

/**
 * So long the messages of one read may keep everybody else waiting: at least, and at most, where nobody
 * else had anything to do when it was their turn. A turn costs a tenth of a millisecond.
 */
const TURN_MS = [0.25, 1] as const;

/** Somebody who waits for messages. */
interface Waiter {
  /** Takes at least one message. */
  take(): void;
  end(): void;
  fail(error: unknown): void;
}

const RECEIVE_CHECKS: Checks<ReceiveOptions> = { signal: checkSignal };

/** Reads messages from a connection. */
export class MessageReceiver<T> {
  readonly #conn: ByteChannel;
  readonly #in: InputBuffer<T>;
  readonly #frameTimeout: number;
  readonly #draining: AbortSignal | undefined;
  /** Messages that nobody has received, from `#next` on; empty when there is none. */
  #queue: T[] = [];
  #next = 0;
  readonly #waiters: Waiter[] = [];
  #reading = false;
  #reads = 0;
  /** There may be messages among the bytes that have come. */
  #more = false;
  /** When everybody else had a turn, and for how long it can be mine now. */
  #turned = 0;
  #turnMs: number = TURN_MS[0];
  /** No more bytes come: the end, or a failure. */
  #over: { failure?: unknown } | undefined;
  #closed = false;
  /** The connection itself has failed, not what was made of its bytes. */
  #readFailed = false;
  /** Milliseconds that the message that has begun may still take. */
  #timeLeft = 0;
  readonly #frame: SilenceTimer;
  #cancelDrain: (() => void) | undefined;
  #stopDraining: (() => void) | undefined;
  readonly #sender: MessageSender<T>;

  /** @param sender The other half: it is told when a read has ended, and when a failure is known. */
  constructor(
    conn: ByteChannel,
    codec: Codec<T>,
    options: MessagesOptions,
    sender: MessageSender<T>,
  ) {
    this.#conn = conn;
    this.#in = new InputBuffer(codec, options.reuse);
    this.#frameTimeout = options.frameTimeout ?? Infinity;
    this.#frame = new SilenceTimer(() => this.#timeOut());
    this.#draining = options.draining;
    this.#sender = sender;
  }

  receive(options?: ReceiveOptions): Promise<T | undefined> {
    let signal: AbortSignal | undefined;
    if (options !== undefined) {
      try {
        checkOptions("receive", options, RECEIVE_CHECKS);
        signal = options.signal;
        signal?.throwIfAborted();
      } catch (error) {
        return Promise.reject(error);
      }
    }
    if (this.#queue.length > 0) return Promise.resolve(this.#takeOne());
    return this.#wait<T | undefined>(() => this.#takeOne(), undefined, false, signal);
  }

  messages(): AsyncIterableIterator<T> {
    return this.#iterate(() => this.#takeOne());
  }

  batches(): AsyncIterableIterator<T[]> {
    return this.#iterate(() => this.#takeAll());
  }

  /** Ends receiving: the connection has failed otherwise. */
  fail(failure: unknown): void {
    this.#end({ failure });
  }

  /** Drops what nobody has received. */
  close(): void {
    this.#closed = true;
    this.#queue = [];
    this.#next = 0;
    this.#over = undefined;
    this.#end({ failure: closedError(this.#conn, "receive", "close()") });
  }

  #iterate<R>(take: () => R): AsyncIterableIterator<R> {
    const result = (): IteratorResult<R, undefined> => ({ value: take(), done: false });
    const done: IteratorResult<R, undefined> = { value: undefined, done: true };
    return {
      next: () =>
        this.#queue.length > 0
          ? Promise.resolve(result())
          : this.#wait<IteratorResult<R, undefined>>(result, done, true),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  #takeOne(): T {
    const message = this.#queue[this.#next++] as T;
    if (this.#next === this.#queue.length) {
      this.#queue = [];
      this.#next = 0;
    }
    return message;
  }

  #takeAll(): T[] {
    const messages = this.#next === 0 ? this.#queue : this.#queue.slice(this.#next);
    this.#queue = [];
    this.#next = 0;
    return messages;
  }

  /**
   * Waits for messages, in turn.
   *
   * @param take Takes them.
   * @param atEnd What to resolve with when there are no more.
   * @param endsWithClose Whether `close()` is such an end.
   */
  #wait<R>(take: () => R, atEnd: R, endsWithClose: boolean, signal?: AbortSignal): Promise<R> {
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    const waiter: Waiter = {
      take: () => resolve(take()),
      end: () => resolve(atEnd),
      fail: (error) => endsWithClose && this.#closed ? resolve(atEnd) : reject(error),
    };
    if (signal !== undefined) {
      const stop = onAbort(signal, () => {
        const place = this.#waiters.indexOf(waiter);
        if (place >= 0) this.#waiters.splice(place, 1);
        reject(signal.reason);
      });
      promise.then(stop, stop);
    }
    this.#waiters.push(waiter);
    if (this.#over !== undefined) this.#tell();
    else if (!this.#reading) this.#read();
    return promise;
  }

  /** Gives what there is to those who wait: messages, and then the end. */
  #tell(): void {
    const waiters = this.#waiters;
    while (waiters.length > 0 && this.#queue.length > 0) waiters.shift()!.take();
    const over = this.#over;
    if (over === undefined || waiters.length === 0) return;
    if ("failure" in over) this.#sender.reported(this.#readFailed);
    for (const waiter of waiters.splice(0)) {
      if ("failure" in over) waiter.fail(over.failure);
      else waiter.end();
    }
  }

  #end(over: { failure?: unknown }): void {
    if (this.#over !== undefined) return;
    this.#over = over;
    this.#stopDraining?.();
    this.#cancelDrain?.();
    this.#frame.stop();
    this.#tell();
  }

  /** Reads while somebody waits. */
  async #read(): Promise<void> {
    this.#reading = true;
    if (this.#draining !== undefined) {
      this.#stopDraining ??= onAbort(this.#draining, () => this.#drain());
    }
    try {
      while (this.#waiters.length > 0 && this.#over === undefined) {
        if (this.#more) {
          if (performance.now() - this.#turned > this.#turnMs) {
            const came = await othersTurn();
            this.#turnMs = came ? TURN_MS[0] : Math.min(2 * this.#turnMs, TURN_MS[1]);
            this.#turned = performance.now();
            this.#sender.turned();
            if (this.#over !== undefined) return;
          }
          this.#decode(false);
          continue;
        }
        const room = this.#in.room();
        const begun = this.#in.rest > 0;
        const reading = this.#conn.read(room);
        if (this.#draining?.aborted) this.#drain();
        let count;
        try {
          count = begun && this.#frameTimeout !== Infinity
            ? await this.#timed(reading)
            : await reading;
        } catch (failure) {
          this.#readFailed = true;
          throw failure;
        }
        this.#reads++;
        this.#turned = performance.now();
        this.#sender.turned();
        if (this.#over !== undefined) return;
        if (count === null) {
          this.#in.finish(this.#queue);
          this.#end({});
          return;
        }
        checkProgress("read()", count, room.length);
        this.#in.filled(count);
        this.#decode(!begun);
      }
    } catch (failure) {
      this.#end({ failure });
    } finally {
      this.#reading = false;
    }
  }

  /** Makes messages of what has come. */
  #decode(begins: boolean): void {
    this.#more = false;
    // Somebody waits, so the queue is empty. What the codec calls in the meantime must not take from it.
    const found: T[] = [];
    try {
      this.#more = this.#in.decode(found);
    } finally {
      if (!this.#closed) this.#queue = found;
    }
    // Where messages were completed, what is left is the beginning of another one.
    if (begins || this.#queue.length > 0) {
      this.#timeLeft = this.#frameTimeout;
      this.#frame.renew(this.#frameTimeout);
    }
    this.#tell();
  }

  /** Waits for a read within the time that the message that has begun may still take. */
  async #timed(reading: Promise<number | null>): Promise<number | null> {
    this.#frame.resume(this.#timeLeft);
    try {
      return await reading;
    } finally {
      this.#timeLeft = this.#frame.stop();
    }
  }

  /** Ends receiving; the read cannot be taken back. */
  #timeOut(): void {
    const cause = new Deno.errors.TimedOut(
      `a message was not complete within ${this.#frameTimeout} ms`,
    );
    Object.assign(cause, { code: "ETIMEDOUT" });
    const fields = { operation: "receive", path: pathOf(this.#conn) };
    this.#end({ failure: systemError(startOf("receive from", this.#conn), cause, fields) });
  }

  /** Ends receiving unless the read that is going on finds something, or a message has begun. */
  #drain(): void {
    const reads = this.#reads;
    this.#cancelDrain?.();
    this.#cancelDrain = afterPolling(() => {
      if (this.#over !== undefined || this.#reads !== reads) return;
      if (this.#reading && this.#in.rest === 0) this.#end({});
    });
  }
}
