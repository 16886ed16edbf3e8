/**
 * The sending half of a channel.
 *
 * - The first message after a read is an answer. It is written at the end of the current
 *   microtasks, so that a round trip takes no longer than without messages.
 * - All others are written at the end of the turn of the event loop, or when a block is full.
 *   Waiting for the write before would gather nothing: in Deno most writes end within the turn.
 */

import type { SocketError } from "../../errors.ts";
import type { ByteChannel, Codec } from "../../framing/codec.ts";
import type { EncodedMessage } from "./encoded_bytes.ts";
import { alreadyEncoded } from "../base/already_encoded.ts";
import { rejectedSeen, rejectSeen, seen } from "../base/caller_stack.ts";
import { timedOut } from "../base/failure.ts";
import { bufferLost, bytesFrom, requireSize } from "../base/lasting_buffer.ts";
import { handled } from "../base/rejection.ts";
import { settlesWithin } from "../base/silence.ts";
import { readThrown } from "../base/thrown.ts";
import { stateAlone } from "../connection/connection_error.ts";
import { ENCODED, EncodedBytes } from "./encoded_bytes.ts";
import { type Encoder, OutputBuffer, type Segment } from "./output.ts";
import { checkProgress, PeerContext } from "./peer_context.ts";
import { StallTimer } from "./stall_timer.ts";

/**
 * ```text
 * open ──► ended ──► closed   closeWrite(), then close()
 *   ├────────┼─► closing      a disposal: what was sent is still written, and then closed
 *   ├────────┼─► detached     detach(): the same, and the connection stays open
 *   └────────┴─► failed       a write failed, or the peer did not read
 * ```
 * A failed sender can still be closed.
 */
type State = "open" | "ended" | "closing" | "detached" | "failed" | "closed";

/** A call that waits until everything that was sent before it is written. */
interface Waiter extends PromiseWithResolvers<void> {
  /** The number of written bytes that it waits for. */
  readonly target: number;
}

/** How long a disposal waits for what was sent. */
const FLUSH_MS = 5000;

const ENDED_BY = {
  ended: "closeWrite()",
  closing: "close()",
  detached: "detach()",
  closed: "close()",
} as const;

/** What `send` returns while it need not wait. */
export const DONE: Promise<void> = Promise.resolve();
const NOTHING: Uint8Array = new Uint8Array(0);

/** Writes messages to a connection. */
export class MessageSender<T> {
  readonly #conn: ByteChannel;
  readonly #codec: Codec<unknown, T>;
  readonly #context: PeerContext;
  readonly #maxPending: number;
  readonly #out = new OutputBuffer();
  #stall: StallTimer | undefined;
  #state: State = "open";
  #failure: Error | undefined;
  /**
   * Whether a call has rejected with the failure, or with one of receiving that has the same cause.
   */
  #isReported = false;
  #written = 0;
  /** What is not written yet of the segment that is being written. */
  #left = NOTHING;
  /** The size that it should have: its buffer may be detached. */
  #leftSize = 0;
  /** The write of the next segment, if it has begun before the end of the current one. */
  #early: Promise<number> | undefined;
  #isWriting = false;
  /** Whether the block that is being filled is due as well. */
  #isDue = false;
  #isScheduled = false;
  /** Whether nothing was written yet in this turn of the event loop. */
  #isFirst = true;
  /** In the order of their targets. */
  readonly #waiters: Waiter[] = [];
  /** Resolves when fewer than `maxPending` bytes wait. */
  #below: PromiseWithResolvers<void> | undefined;
  /** Resolves when nothing is left to write. All disposals wait for it. */
  #settled: PromiseWithResolvers<void> | undefined;
  #closeWrite: Promise<void> | undefined;

  /** @param onTimeout Called with the failure when the peer has not read for `writeTimeout`. */
  constructor(
    conn: ByteChannel,
    codec: Codec<unknown, T>,
    maxPending: number,
    writeTimeout: number,
    onTimeout: (failure: Error) => void,
  ) {
    this.#conn = conn;
    this.#codec = codec;
    this.#context = new PeerContext("send", conn);
    this.#maxPending = maxPending;
    if (writeTimeout === Infinity) return;
    this.#stall = new StallTimer(conn, writeTimeout, (written) => {
      const left = bytesFrom(this.#left, written, this.#leftSize) ?? NOTHING;
      onTimeout(this.#fail(didNotRead(writeTimeout), left));
    });
  }

  send(message: T): Promise<void> {
    return this.#append(this.#codec, message);
  }

  sendEncoded(message: EncodedMessage<T>): Promise<void> {
    try {
      return this.#append(ENCODED, EncodedBytes.bytesFor(this.#codec, message));
    } catch (error) {
      return rejectedSeen(error);
    }
  }

  #append<M>(encoder: Encoder<M>, message: M): Promise<void> {
    if (this.#state !== "open") return this.#refuse();
    const out = this.#out;
    try {
      out.append(encoder, message);
    } catch (error) {
      return rejectedSeen(message instanceof EncodedBytes ? alreadyEncoded() : error);
    }
    // Waits for the kernel: the next message then finds a free block.
    if (out.isLarge) {
      const written = this.#whenWritten();
      this.writeAll();
      return written;
    }
    if (!this.#isScheduled) this.#schedule();
    if (out.isSealed && !this.#isWriting) this.#write();
    return this.pending < this.#maxPending
      ? DONE
      : (this.#below ??= Promise.withResolvers()).promise;
  }

  flush(): Promise<void> {
    if (this.#failure !== undefined || this.#state === "detached") return this.#refuse();
    const { busyError } = this.#out;
    if (busyError !== undefined) return rejectedSeen(busyError);
    if (this.pending === 0) return DONE;
    const written = this.#whenWritten();
    this.writeAll();
    return written;
  }

  closeWrite(): Promise<void> {
    const isOver = ["closing", "closed", "detached"].includes(this.#state);
    if (isOver) return this.#refuse();
    const { busyError } = this.#out;
    if (busyError !== undefined) return rejectedSeen(busyError);
    if (this.#state === "open") this.#state = "ended";
    return this.#closeWrite ??= seen(
      this.flush().then(() => this.#conn.closeWrite?.()),
      true,
    );
  }

  /** Throws while the codec is encoding a message. */
  requireIdle(): void {
    const { busyError } = this.#out;
    if (busyError !== undefined) throw busyError;
  }

  /**
   * Ends sending, but not the writing of what was sent. Call {@linkcode requireIdle} first.
   *
   * @param isQueued Whether the connection queues writes. It then gets everything now, so that it
   * comes before what others write.
   * @returns Resolves when everything is written.
   */
  detach(isQueued: boolean): Promise<void> {
    const written = this.flush();
    if (isQueued && this.#out.size > 0) {
      const { size } = this.#out;
      const rest = this.#out.takeAll(NOTHING);
      if (rest.length < size) this.#fail(bufferLost(), rest);
      else {
        this.#out.bytes(rest);
        this.#early = handled(this.#conn.write(rest));
      }
    }
    if (this.#state !== "failed") this.#state = "detached";
    this.#stall?.stop();
    this.#stall = undefined;
    return written;
  }

  /** Drops what is not written. */
  close(): void {
    this.#state = "closed";
    const isLost = this.pending > 0;
    const unsent = this.#takeUnsent(this.#left);
    if (this.#failure !== undefined || !isLost) return;
    this.#failure = this.#context.closed("close()", unsent);
    this.#rejectWaiters(this.#failure);
  }

  /** Waits until everything is written. Resolves to the failure if no call has reported it. */
  async finish(): Promise<Error | undefined> {
    const { busyError } = this.#out;
    if (busyError !== undefined && this.#failure === undefined && this.pending > 0) throw busyError;
    // Later messages could be lost, and nothing would report it.
    if (this.#state === "open" || this.#state === "ended") this.#state = "closing";
    if (this.#failure === undefined && this.pending > 0) {
      const settled = (this.#settled ??= Promise.withResolvers<void>()).promise;
      this.writeAll();
      await settlesWithin(settled, FLUSH_MS);
      if (this.#state === "closed") return undefined;
      if (this.pending > 0) this.#fail(didNotRead(FLUSH_MS), this.#left);
    }
    return this.#isReported ? undefined : this.#failure;
  }

  /**
   * A call of receiving has rejected.
   *
   * @param isFinal Whether the connection has failed: sending then fails for the same reason.
   */
  reported(isFinal: boolean): void {
    if (isFinal || this.#failure !== undefined) this.#isReported = true;
  }

  /** A read has ended, so a turn of the event loop has begun. */
  turned(): void {
    this.#isFirst = true;
  }

  /** Whether `closeWrite()` was called. */
  get hasEnded(): boolean {
    return this.#closeWrite !== undefined;
  }

  /** The number of bytes that the connection has not taken. */
  get pending(): number {
    return this.#leftSize + this.#out.size;
  }

  /** Rejects a call after the end. */
  #refuse(): Promise<never> {
    if (this.#failure === undefined) {
      return rejectedSeen(this.#context.closed(ENDED_BY[this.#state as keyof typeof ENDED_BY]));
    }
    this.#isReported = true;
    return rejectedSeen(this.#failure);
  }

  #whenWritten(): Promise<void> {
    const waiter = { ...Promise.withResolvers<void>(), target: this.#written + this.pending };
    this.#waiters.push(waiter);
    return waiter.promise;
  }

  #schedule(): void {
    this.#isScheduled = true;
    if (this.#isFirst) queueMicrotask(this.#writeScheduled);
    else setImmediate(this.#writeScheduled);
  }

  readonly #writeScheduled = (): void => {
    this.#isScheduled = false;
    this.writeAll();
  };

  /** Begins to write all that was sent, unless a write is under way that goes on with it. */
  writeAll(): void {
    if (this.#out.size === 0) return;
    this.#isDue = true;
    if (!this.#isWriting) this.#write();
  }

  /** Writes the full blocks, and the last one if it is due. */
  async #write(): Promise<void> {
    this.#isWriting = true;
    try {
      let segment: Segment | undefined;
      while ((segment = this.#out.take(this.#isDue)) !== undefined) {
        if (this.#out.size === 0) this.#isDue = false;
        this.#isFirst = false;
        this.#left = segment.bytes;
        this.#leftSize = segment.size;
        while (this.#leftSize > 0) {
          requireSize(this.#left, this.#leftSize);
          const writing = this.#early ?? this.#conn.write(this.#left);
          this.#early = undefined;
          const count = await (this.#stall === undefined ? writing : this.#stall.watch(writing));
          if (this.#isOver) return;
          checkProgress("write()", count, this.#leftSize);
          if (count < this.#leftSize) requireSize(this.#left, this.#leftSize);
          this.#left = count === this.#leftSize ? NOTHING : this.#left.subarray(count);
          this.#written += count;
          this.#leftSize -= count;
        }
        this.#out.release(segment);
        this.#resolveWaiters();
      }
    } catch (cause) {
      if (this.#isOver) return;
      const unsent = readThrown(() => (cause as Partial<SocketError> | null)?.unsent, undefined);
      this.#fail(cause, unsent ?? this.#left);
    } finally {
      this.#isWriting = false;
    }
  }

  /** Whether what was not written has been given up. */
  get #isOver(): boolean {
    return this.#state === "failed" || this.#state === "closed";
  }

  #resolveWaiters(): void {
    const waiters = this.#waiters;
    while (waiters.length > 0 && waiters[0]!.target <= this.#written) waiters.shift()!.resolve();
    if (this.#below !== undefined && this.pending < this.#maxPending) {
      this.#below.resolve();
      this.#below = undefined;
    }
    if (this.pending === 0) this.#settled?.resolve();
  }

  #rejectWaiters(error: Error): void {
    if (this.#below !== undefined) this.#waiters.push({ ...this.#below, target: Infinity });
    this.#below = undefined;
    if (this.#waiters.length > 0) this.#isReported = true;
    for (const { resolve, promise } of this.#waiters.splice(0)) rejectSeen(resolve, error, promise);
    this.#settled?.resolve();
  }

  #fail(cause: unknown, left: Uint8Array): Error {
    const unsent = this.#takeUnsent(left);
    const state = `${stateAlone(cause)}, and ${unsent.length} bytes of messages were not sent`;
    this.#state = "failed";
    this.#failure = this.#context.fail(cause, state, unsent);
    this.#rejectWaiters(this.#failure);
    return this.#failure;
  }

  /** Returns all bytes that the connection has not taken, and drops them. */
  #takeUnsent(left: Uint8Array): Uint8Array {
    const unsent = this.#out.takeAll(left);
    this.#left = NOTHING;
    this.#leftSize = 0;
    return unsent;
  }
}

function didNotRead(ms: number): Error {
  return timedOut(`the peer did not read for ${ms} ms`);
}
