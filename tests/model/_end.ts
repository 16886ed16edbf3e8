/** One end of a connection in a random course: it acts, and records what came of it. */

import { type Connection, encodeMessage, type Messages, messages } from "@uds/uds";
import { assert } from "@std/assert";
import { concat } from "../framing/_framing.ts";
import { pseudoRandom, turn } from "../_helpers.ts";
import { type Framing, FRAMINGS, SMALL_FRAMINGS } from "./_framings.ts";

/** The order of all events of a course. */
export class Clock {
  now = 0;

  tick(): number {
    return ++this.now;
  }
}

/** What an end has sent at once: a message, or bytes after `detach()`. */
export interface Part {
  bytes: Uint8Array;
  value?: unknown;
  framing?: Framing;
}

/** Everything that an end has sent, in order. */
export class Sent {
  readonly parts: Part[] = [];
  /** Where each part begins, and then the end. */
  readonly starts: number[] = [0];
  /** How many bytes the kernel has for sure. */
  sure = 0;
  #bytes: Uint8Array | undefined;

  get size(): number {
    return this.starts.at(-1)!;
  }

  get bytes(): Uint8Array {
    if (this.#bytes?.length !== this.size) {
      this.#bytes = concat(...this.parts.map(({ bytes }) => bytes));
    }
    return this.#bytes!;
  }

  append(part: Part): void {
    this.parts.push(part);
    this.starts.push(this.size + part.bytes.length);
  }
}

/** How a call ended: with values, at the end of what comes, or with an error. */
export type Result = { values: unknown[] } | { isEnd: true } | { error: unknown };

/** A call, and how it ended. */
export interface Call {
  act: string;
  phase: Phase;
  result?: Result;
  settledAt: number;
  /** When its signal aborted. */
  abortedAt: number;
  /** Whether it was called after its side had ended, which must refuse it. */
  isLate: boolean;
}

/** The time between two changes of what carries the bytes. Without a framing they are raw. */
export interface Phase {
  framing?: Framing;
  channel?: Messages<unknown>;
  /** Whether this side had ended its direction before: a channel learns of it when it writes. */
  hasEnded: boolean;
  /** Whether something was sent: flushing a channel that has sent nothing waits for nothing. */
  hasSent: boolean;
  draining: AbortController;
  drainedAt: number;
  detachedAt: number;
  /** Calls that receive, in their order. */
  incoming: Call[];
}

/** The options of an end. */
export interface EndOptions {
  framing: number;
  maxPending: number;
  frameTimeout: number | undefined;
  writeTimeout: number | undefined;
}

const NEVER = Infinity;

/** How long, in milliseconds, a disposal waits for sure. */
const DISPOSAL_MS = 4900;

/** One end. */
export class End {
  readonly conn: Connection;
  readonly clock: Clock;
  readonly options: EndOptions;
  readonly sent: Sent = new Sent();
  readonly phases: Phase[] = [];
  /** Calls that send. */
  readonly outgoing: Call[] = [];
  /** When its direction was ended, and when it was closed. */
  endedAt: number = NEVER;
  closedAt: number = NEVER;
  /** Whether a disposal took the 5 seconds that it waits, which pass on a machine that is busy. */
  wasDisposalLong: boolean = false;
  readonly #aborts: (() => void)[] = [];
  #pendingReads = 0;
  #isDisposing = false;
  /** Whether `close()` was called, which ends a disposal early. */
  #isClosed = false;
  readonly #settled: Promise<void>[] = [];

  constructor(conn: Connection, clock: Clock, options: EndOptions) {
    this.conn = conn;
    this.clock = clock;
    this.options = options;
    this.#begin(FRAMINGS[options.framing % FRAMINGS.length]);
  }

  get phase(): Phase {
    return this.phases.at(-1)!;
  }

  /** Begins a phase with a framing, or with raw bytes. */
  #begin(framing: Framing | undefined): void {
    const { maxPending, frameTimeout, writeTimeout } = this.options;
    const draining = new AbortController();
    const channel = framing && messages(this.conn, framing.codec, {
      maxPending,
      frameTimeout,
      writeTimeout,
      draining: draining.signal,
    });
    this.phases.push({
      ...(framing && channel && { framing, channel }),
      hasEnded: this.endedAt !== NEVER,
      hasSent: false,
      draining,
      drainedAt: NEVER,
      detachedAt: NEVER,
      incoming: [],
    });
  }

  /** Performs an action. It ends at once, although what it calls may not. */
  act(name: string, n: number): void {
    if (name === "abort") return this.#aborts.shift()?.();
    // A channel that is detached while it is disposed of leaves its connection open.
    if (this.#isDisposing && name === "change") return;
    if (this.#isOver && name !== "close") this.#actLate(n);
    else ACTIONS[name]!(this, n, this.phase);
  }

  /** Whether it has ended for sure. While a disposal waits, only messages are refused. */
  get #isOver(): boolean {
    return this.closedAt !== NEVER && !this.#isDisposing;
  }

  /** After its own end, everything is refused. */
  #actLate(n: number): void {
    if (n % 2 === 0) this.receive(this.phase, "receive", undefined);
    else this.send(this.phase, { bytes: new Uint8Array([1]) });
  }

  /** Records a call and its end. */
  watch(
    list: Call[],
    act: string,
    phase: Phase,
    isLate: boolean,
    promise: Promise<unknown>,
    resultOf: (value: unknown) => Result,
  ): Call {
    const call: Call = { act, phase, settledAt: NEVER, abortedAt: NEVER, isLate };
    list.push(call);
    const settle = (result: Result) => {
      call.result = result;
      call.settledAt = this.clock.tick();
    };
    this.#settled.push(promise.then(
      (value) => settle(resultOf(value)),
      (error) => settle({ error }),
    ));
    return call;
  }

  /** Calls something that sends, and appends what it sends if it must. */
  #call(act: string, phase: Phase, part: Part | undefined, call: () => Promise<unknown>): void {
    const isRefused = this.#isOver || act === "send" && this.closedAt !== NEVER;
    const isLate = isRefused || phase.detachedAt !== NEVER ||
      part !== undefined && this.endedAt !== NEVER;
    if (part !== undefined && !isLate) {
      this.sent.append(part);
      phase.hasSent = true;
    }
    const { size } = this.sent;
    const start = performance.now();
    const isSure = act === "flush" && phase.hasSent || act === "closeWrite" || act === "dispose" ||
      phase.channel === undefined;
    this.watch(this.outgoing, act, phase, isLate, call(), () => {
      // A disposal stops waiting after 5 seconds. It does not repeat what a call has reported.
      const isReported = this.outgoing.some(({ result }) => result && "error" in result);
      const isDone = act !== "dispose" ||
        !isReported && !this.#isClosed && performance.now() - start < DISPOSAL_MS;
      if (isSure && !isLate && isDone) this.sent.sure = Math.max(this.sent.sure, size);
      return { values: [] };
    });
  }

  send(phase: Phase, part: Part, isEncoded = false): void {
    const { channel, framing } = phase;
    if (channel === undefined || framing === undefined) {
      return this.#call("write", phase, part, () => this.conn.write(part.bytes));
    }
    const { value } = part.framing === undefined ? framing.samples[0]! : part;
    this.#call(
      "send",
      phase,
      part,
      () =>
        isEncoded ? channel.sendEncoded(encodeMessage(framing.codec, value)) : channel.send(value),
    );
  }

  flush(phase: Phase): void {
    if (phase.channel !== undefined) {
      this.#call("flush", phase, undefined, () => phase.channel!.flush());
    }
  }

  closeWrite(phase: Phase): void {
    this.#call("closeWrite", phase, undefined, () => (phase.channel ?? this.conn).closeWrite());
    if (this.endedAt === NEVER) this.endedAt = this.clock.tick();
  }

  /** Receives in some way, or reads. Returns what aborts it. */
  receive(phase: Phase, act: string, signal: AbortSignal | undefined, size = 1000): Call {
    const { channel } = phase;
    const isLate = this.#isOver || phase.detachedAt !== NEVER;
    const options = signal && { signal };
    const watch = (promise: Promise<unknown>, resultOf: (value: unknown) => Result) => {
      this.#pendingReads++;
      return this.watch(
        phase.incoming,
        act,
        phase,
        isLate,
        promise.finally(() => {
          this.#pendingReads--;
        }),
        resultOf,
      );
    };
    if (channel === undefined) {
      const buffer = new Uint8Array(size);
      return watch(
        this.conn.read(buffer, options),
        (count) =>
          count === null ? { isEnd: true } : { values: [buffer.subarray(0, count as number)] },
      );
    }
    if (act === "receive") {
      return watch(
        channel.receive(options),
        (value) => value === undefined ? { isEnd: true } : { values: [value] },
      );
    }
    const isBatch = act === "batch";
    const iterator = (isBatch ? channel.batches() : channel)[Symbol.asyncIterator]();
    return watch(iterator.next(), (next) => {
      const { value, done } = next as IteratorResult<unknown>;
      if (done) return { isEnd: true };
      return { values: isBatch ? value as unknown[] : [value] };
    });
  }

  receiveAborted(phase: Phase, n: number): void {
    const controller = new AbortController();
    const abort = (call?: Call) => {
      if (call !== undefined) call.abortedAt = this.clock.tick();
      controller.abort(new DOMException("as asked", "AbortError"));
    };
    const isBefore = n % 4 === 0;
    if (isBefore) abort();
    const call = this.receive(phase, "receive", controller.signal, 1 + n % 50);
    if (isBefore) call.abortedAt = 0;
    else if (n % 4 === 1) abort(call);
    else if (n % 4 === 2) queueMicrotask(() => abort(call));
    else this.#aborts.push(() => abort(call));
  }

  detach(phase: Phase): void {
    const conn = phase.channel!.detach();
    assert(conn === this.conn, "detach() returned another connection");
    phase.detachedAt = this.clock.tick();
    this.#begin(undefined);
  }

  /** Frames what comes from here on, unless a raw read is pending. */
  attach(n: number): void {
    if (this.#pendingReads === 0) this.#begin(FRAMINGS[n % FRAMINGS.length]);
  }

  drain(phase: Phase): void {
    phase.draining.abort();
    if (phase.drainedAt === NEVER) phase.drainedAt = this.clock.tick();
  }

  close(phase: Phase): void {
    (phase.channel ?? this.conn).close();
    this.#isDisposing = false;
    this.#isClosed = true;
    if (this.closedAt === NEVER) this.closedAt = this.clock.tick();
  }

  dispose(phase: Phase): void {
    this.#isDisposing = true;
    const disposal = Promise.resolve((phase.channel ?? this.conn)[Symbol.asyncDispose]());
    const start = performance.now();
    const over = () => {
      this.#isDisposing = false;
      this.wasDisposalLong ||= performance.now() - start >= DISPOSAL_MS;
    };
    this.#call("dispose", phase, undefined, () => disposal.finally(over));
    if (this.closedAt === NEVER) this.closedAt = this.clock.tick();
  }

  /** Receives all that is left, also behind what the framing refuses. */
  async finish(): Promise<void> {
    if (this.closedAt !== NEVER) return;
    this.closeWrite(this.phase);
    for (const isRaw of [this.phase.channel === undefined, true]) {
      for (;;) {
        const call = this.receive(this.phase, "receive", undefined, 65_536);
        await this.#settled.at(-1);
        if (call.result === undefined || !("values" in call.result)) break;
      }
      if (isRaw) return;
      this.detach(this.phase);
    }
  }

  /** Resolves when all of its calls have settled. */
  async settled(): Promise<void> {
    for (const each of this.#settled) await each;
  }
}

/** What an end may do; `n` chooses how. */
const ACTIONS: Record<string, (end: End, n: number, phase: Phase) => void> = {
  send(end, n, phase) {
    const { framing } = phase;
    if (framing === undefined) return end.send(phase, { bytes: rawBytes(n) });
    const { value, bytes } = framing.samples[n % framing.samples.length]!;
    end.send(phase, { value, bytes, framing }, n % 5 === 0);
  },
  burst(end, n, phase) {
    // A few large messages are more than the kernel holds. Decoding more would take seconds.
    const isLarge = FRAMINGS.indexOf(phase.framing!) >= SMALL_FRAMINGS;
    for (let i = 0; i < 3 + n % (isLarge ? 6 : 30); i++) ACTIONS.send!(end, n + i, phase);
  },
  flush: (end, _, phase) => end.flush(phase),
  closeWrite: (end, _, phase) => end.closeWrite(phase),
  receive: (end, n, phase) => void end.receive(phase, "receive", undefined, 1 + n % 3000),
  receiveAborted: (end, n, phase) => end.receiveAborted(phase, n),
  iterate: (end, n, phase) => void end.receive(phase, "iterate", undefined, 1 + n % 60),
  batch: (end, n, phase) => void end.receive(phase, "batch", undefined, 1 + n % 9),
  change(end, n, phase) {
    if (phase.framing === undefined) return end.attach(n);
    end.detach(phase);
    if (n % 3 === 0) end.attach(n);
  },
  /** The channel of an earlier phase refuses everything. */
  old(end, n) {
    const old = end.phases[n % end.phases.length]!;
    if (old.detachedAt === NEVER) return;
    if (n % 2 === 0) end.receive(old, "receive", undefined);
    else end.send(old, { bytes: new Uint8Array([1]) });
  },
  drain: (end, _, phase) => end.drain(phase),
  close: (end, _, phase) => end.close(phase),
  dispose: (end, _, phase) => end.dispose(phase),
};

function rawBytes(n: number): Uint8Array {
  return pseudoRandom(n % 50 === 0 ? 230_000 : 1 + n % 100, n + 1);
}

/** An action of a course, by one of its ends. */
export interface Step {
  end: 0 | 1;
  act: string;
  n: number;
}

/** The actions with how often they are chosen. A pause is one for both ends. */
export const WEIGHTS: Record<string, number> = {
  send: 10,
  burst: 2,
  receive: 7,
  receiveAborted: 4,
  abort: 2,
  iterate: 2,
  batch: 2,
  flush: 2,
  change: 3,
  old: 1,
  closeWrite: 1,
  drain: 1,
  close: 1,
  dispose: 1,
  pause: 9,
};

/** Waits for some microtasks, some turns of the event loop, or some milliseconds. */
export async function pause(n: number, hasTimeouts: boolean): Promise<void> {
  if (hasTimeouts && n % 4 === 3) return await new Promise((resolve) => setTimeout(resolve, 15));
  for (let i = 0; i < n % 5; i++) await (n % 2 === 0 ? turn() : undefined);
}

export { SMALL_FRAMINGS };
