/**
 * The receiving half of a channel.
 *
 * - It reads only while a call waits. A read cannot be canceled: if the calls give up, what it
 *   brings is kept for the next one.
 * - It decodes about a hundred messages at a time. When one read brings more, the rest of the
 *   process runs before the next ones.
 */

import type { ByteChannel } from "../../framing/codec.ts";
import { rejectSeen } from "../base/caller_stack.ts";
import { onAbort, othersTurn } from "../base/event_loop.ts";
import { timedOut } from "../base/failure.ts";
import { afterPolling } from "../base/silence.ts";
import { memoryLost } from "./codec_support.ts";
import { FrameTimer } from "./frame_timer.ts";
import type { InputBuffer } from "./input.ts";
import { checkProgress, PeerContext } from "./peer_context.ts";
import type { MessageSender } from "./sender.ts";

/**
 * How long the messages of one read may keep the rest of the process waiting: at first, and after
 * turns in which nothing else had come. Letting others go first takes a tenth of a millisecond.
 */
const MIN_TURN_MS = 0.25;
const MAX_TURN_MS = 1;

/**
 * ```text
 * idle ⇄ reading ──► ended    the peer's end of file, or draining
 *               ├──► failed   the bytes are not a message, or a time limit has passed
 *               └──► broken   the connection has failed
 *   any ───────────► closed   close() or detach()
 * ```
 */
type State = "idle" | "reading" | "ended" | "failed" | "broken" | "closed";

/** A call that waits for messages. It is made without closures, because each costs memory. */
interface Waiter<R = unknown> {
  /** Takes at least one message. */
  take(): R;
  /** What to resolve with at the end. */
  readonly atEnd: R;
  /** Whether `close()` counts as an end. */
  readonly endsWithClose: boolean;
  resolve(result: R | Promise<never>): void;
}

/** Reads messages from a connection. */
export class MessageReceiver<T> {
  readonly #conn: ByteChannel;
  readonly #in: InputBuffer<T>;
  readonly #sender: MessageSender<never>;
  readonly #context: PeerContext;
  #state: State = "idle";
  #failure: unknown;
  /** Messages that were not received yet, from `#next` on. It is empty if there are none. */
  #queue: T[] = [];
  #next = 0;
  /** The number of messages that the last bytes made. */
  #batch = 0;
  readonly #waiters: Waiter[] = [];
  #reads = 0;
  #isReadPending = false;
  /** Takes what a read brings that was pending when the connection was detached. */
  #late: PromiseWithResolvers<Uint8Array> | undefined;
  /** Whether the bytes that have come may contain more messages. */
  #hasMore = false;
  /**
   * When the messages of a read began to keep the process busy, and how long they may. The clock is
   * asked only when a read brings more than one batch, because it costs as much as a small message.
   */
  #turnStart: number | undefined;
  #turnMs = MIN_TURN_MS;
  readonly #frame: FrameTimer | undefined;
  readonly #draining: AbortSignal | undefined;
  #stopDraining: (() => void) | undefined;
  #cancelDrain: (() => void) | undefined;

  /**
   * @param sender The other half, which learns when a read has ended and when a failure is known.
   */
  constructor(
    conn: ByteChannel,
    input: InputBuffer<T>,
    sender: MessageSender<never>,
    frameTimeout: number,
    draining: AbortSignal | undefined,
  ) {
    this.#conn = conn;
    this.#in = input;
    this.#sender = sender;
    this.#context = new PeerContext("receive", conn);
    this.#draining = draining;
    if (frameTimeout === Infinity) return;
    this.#frame = new FrameTimer(frameTimeout, () => {
      const cause = timedOut(`a message was not complete within ${frameTimeout} ms`);
      this.fail(this.#context.fail(cause));
    });
  }

  receive(signal?: AbortSignal): Promise<T | undefined> {
    if (this.#hasMessage) return Promise.resolve(this.#takeOne());
    return this.#wait<T | undefined>(this.#takeOne, undefined, false, signal);
  }

  messages(): AsyncIterableIterator<T> {
    return this.#iterate(this.#takeOne);
  }

  batches(): AsyncIterableIterator<T[]> {
    return this.#iterate(this.#takeAll);
  }

  /** Ends receiving with a failure that is not one of the connection. */
  fail(failure: unknown): void {
    this.#end("failed", failure);
  }

  /** Ends receiving, and drops what was not received. */
  close(): void {
    this.#clear();
    this.#end("closed", this.#context.closed("close()"));
  }

  /**
   * Ends receiving.
   *
   * @returns The bytes of the messages that were not received, and those of a read that is pending.
   */
  detach(): { ahead: Uint8Array; late: Promise<Uint8Array> | undefined } {
    const ahead = this.#takeAhead();
    if (this.#isReadPending) this.#late = Promise.withResolvers();
    this.#clear();
    this.#end("closed", this.#context.closed("detach()"));
    return { ahead, late: this.#late?.promise };
  }

  /** Returns a copy of what was read ahead: a message may be transferred later, with its memory. */
  #takeAhead(): Uint8Array {
    try {
      if (this.#queue.length > 0 && this.#in.isLost) throw memoryLost();
      return this.#in.bytesAfter(this.#batch - (this.#queue.length - this.#next)).slice();
    } catch (error) {
      throw this.#context.decoding(error);
    }
  }

  get #isOver(): boolean {
    return this.#state !== "idle" && this.#state !== "reading";
  }

  /** Whether a message is there, and was not detached with an earlier one. */
  get #hasMessage(): boolean {
    return this.#queue.length > 0 && !this.#in.isLost;
  }

  /** Drops the messages that are there: they were detached. Receiving fails from here on. */
  #lose(): void {
    this.#clear();
    this.#state = "failed";
    this.#failure ??= this.#context.decoding(memoryLost());
  }

  #iterate<R>(take: () => R): AsyncIterableIterator<R> {
    const result = (): IteratorResult<R, undefined> => ({ value: take(), done: false });
    const done: IteratorResult<R, undefined> = { value: undefined, done: true };
    return {
      // Without a call for a message that is there already: iterating is a tenth faster.
      next: () =>
        this.#hasMessage
          ? Promise.resolve(result())
          : this.#wait<IteratorResult<R, undefined>>(result, done, true),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  }

  readonly #takeOne = (): T => {
    const message = this.#queue[this.#next++] as T;
    if (this.#next === this.#queue.length) this.#clear();
    return message;
  };

  readonly #takeAll = (): T[] => {
    const messages = this.#next === 0 ? this.#queue : this.#queue.slice(this.#next);
    this.#clear();
    return messages;
  };

  #clear(): void {
    this.#queue = [];
    this.#next = 0;
  }

  /** Waits for messages behind earlier calls. */
  #wait<R>(take: () => R, atEnd: R, endsWithClose: boolean, signal?: AbortSignal): Promise<R> {
    if (this.#queue.length > 0) this.#lose();
    const { promise, resolve, reject } = Promise.withResolvers<R>();
    const waiter: Waiter<R> = { take, atEnd, endsWithClose, resolve };
    if (signal !== undefined) {
      const stop = onAbort(signal, () => {
        const place = this.#waiters.indexOf(waiter);
        if (place >= 0) this.#waiters.splice(place, 1);
        reject(signal.reason);
      });
      waiter.resolve = (result) => {
        stop();
        resolve(result);
      };
    }
    this.#waiters.push(waiter);
    if (this.#isOver) this.#deliver();
    else if (this.#state === "idle") this.#read();
    return promise;
  }

  /** Delivers messages to the waiting calls, and then the end. */
  #deliver(): void {
    const waiters = this.#waiters;
    while (waiters.length > 0 && this.#queue.length > 0) {
      const { take, resolve } = waiters.shift()!;
      resolve(take());
    }
    if (!this.#isOver || waiters.length === 0) return;
    const state = this.#state;
    if (state !== "ended") this.#sender.reported(state === "broken");
    for (const { atEnd, endsWithClose, resolve } of waiters.splice(0)) {
      if (state === "ended" || endsWithClose && state === "closed") resolve(atEnd);
      else rejectSeen(resolve, this.#failure);
    }
  }

  #end(state: "ended" | "failed" | "broken" | "closed", failure?: unknown): void {
    if (this.#isOver && state !== "closed") return;
    this.#state = state;
    this.#failure = failure;
    this.#stopDraining?.();
    this.#cancelDrain?.();
    this.#frame?.stop();
    this.#deliver();
  }

  /** Reads while a call waits. */
  async #read(): Promise<void> {
    this.#state = "reading";
    if (this.#draining) this.#stopDraining = onAbort(this.#draining, () => this.#drain());
    try {
      while (this.#waiters.length > 0 && !this.#isOver) {
        if (this.#hasMore) {
          const now = performance.now();
          if (now - (this.#turnStart ??= now) > this.#turnMs) {
            const hasCome = await othersTurn();
            this.#turnMs = hasCome ? MIN_TURN_MS : Math.min(2 * this.#turnMs, MAX_TURN_MS);
            this.#beginTurn();
            if (this.#isOver) return;
          }
          this.#decode(false);
          continue;
        }
        const room = this.#in.room();
        const size = room.length;
        this.#batch = 0;
        const { hasBegun } = this.#in;
        const reading = this.#conn.read(room);
        if (this.#draining?.aborted) this.#drain();
        this.#isReadPending = true;
        let count;
        try {
          count =
            await (hasBegun && this.#frame !== undefined ? this.#frame.watch(reading) : reading);
        } catch (failure) {
          this.#late?.reject(failure);
          return this.#end("broken", failure);
        } finally {
          this.#isReadPending = false;
        }
        this.#reads++;
        this.#beginTurn();
        if (count !== null) {
          checkProgress("read()", count, size);
          if (room.length < size) throw memoryLost();
          this.#in.filled(count);
        }
        if (this.#isOver) return this.#late?.resolve(room.subarray(0, count ?? 0));
        if (count === null) {
          this.#in.finish(this.#queue);
          this.#batch = this.#queue.length;
          return this.#end("ended");
        }
        this.#decode(!hasBegun);
      }
    } catch (error) {
      const failure = this.#context.decoding(error);
      this.#late?.reject(failure);
      this.fail(failure);
    } finally {
      // Otherwise the signal would keep a channel that was never closed.
      this.#stopDraining?.();
      if (this.#state === "reading") this.#state = "idle";
    }
  }

  /** The event loop has run: what came since then is new. */
  #beginTurn(): void {
    this.#turnStart = undefined;
    this.#sender.turned();
  }

  /** Makes messages of the bytes that have come. */
  #decode(hasBegun: boolean): void {
    this.#hasMore = false;
    this.#batch = 0;
    // A call waits, so the queue is empty. Whatever the codec calls must not take from it yet.
    const found: T[] = [];
    const { isSkipping } = this.#in;
    try {
      this.#hasMore = this.#in.decode(found);
    } finally {
      if (this.#state !== "closed") {
        this.#queue = found;
        this.#batch = found.length;
      }
    }
    // If messages were completed, the remaining bytes begin another one.
    const isNew = found.length > 0 || isSkipping && !this.#in.isSkipping;
    if (hasBegun || isNew) this.#frame?.restart();
    this.#deliver();
  }

  /** Ends receiving, unless the current read finds something or a message has begun. */
  #drain(): void {
    const reads = this.#reads;
    this.#cancelDrain?.();
    this.#cancelDrain = afterPolling(() => {
      const isSilent = this.#state === "reading" && this.#reads === reads;
      if (isSilent && !this.#in.hasBegun) this.#end("ended");
    });
  }
}
