/** What may come of a random course: every byte once and in order, no error without its cause. */

import { ConnectionClosed, MessageTooLarge, TruncatedMessage } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { equalBytes } from "../framing/_framing.ts";
import type { Call, End, Phase, Sent } from "./_end.ts";
import type { Framing } from "./_framings.ts";

const { BrokenPipe, ConnectionReset, TimedOut, InvalidData } = Deno.errors;

/** More than the kernel holds for a socket on any system. */
const KERNEL_BYTES = 150_000;
/** A message of more bytes may come in several reads. */
const ONE_READ_BYTES = 4096;

/** Reads what was sent as the documentation describes it. */
class Reference {
  at = 0;
  readonly #sent: Sent;
  #framing: Framing | undefined;
  /** The number of the part that begins here, if one does. */
  #part = 0;
  /** What the naive decoder makes of the bytes from here on, if they are not what was sent. */
  #naive: { values: unknown[]; ending: string; taken: number } | undefined;

  constructor(sent: Sent) {
    this.#sent = sent;
  }

  get rest(): number {
    return this.#sent.size - this.at;
  }

  /** Begins a phase. */
  begin(framing: Framing | undefined): void {
    this.#settle();
    this.#framing = framing;
    this.#part = this.#sent.starts.indexOf(this.at);
    // An empty write is not seen.
    while (this.#sent.parts[this.#part]?.bytes.length === 0) this.#part++;
  }

  /** Returns the next message, or what comes instead: how the bytes end. */
  next(): { value: unknown; size: number } | string {
    const framing = this.#framing!;
    if (this.rest === 0 && this.#naive === undefined) return "whole";
    const part = this.#part < 0 ? undefined : this.#sent.parts[this.#part];
    if (part?.framing?.codec === framing.codec) {
      return { value: part.value, size: part.bytes.length };
    }
    if (this.#naive === undefined) {
      this.#naive = { ...framing.expected(this.#sent.bytes.subarray(this.at)), taken: 0 };
    }
    const { values, ending, taken } = this.#naive;
    return taken < values.length ? { value: values[taken], size: 0 } : ending;
  }

  /** Takes the message that `next()` has returned. */
  take(size: number): void {
    if (this.#naive !== undefined) {
      this.#naive.taken++;
      return;
    }
    this.at += size;
    this.#part++;
    while (this.#sent.parts[this.#part]?.bytes.length === 0) this.#part++;
  }

  takeRaw(bytes: Uint8Array): void {
    const expected = this.#sent.bytes.subarray(this.at, this.at + bytes.length);
    assert(
      equalBytes(bytes, expected),
      `${bytes.length} raw bytes at ${this.at} are not those sent`,
    );
    this.at += bytes.length;
  }

  /** Finds where the messages end that the naive decoder has made. */
  #settle(): void {
    if (this.#naive === undefined) return;
    const { taken } = this.#naive;
    this.#naive = undefined;
    const bytes = this.#sent.bytes.subarray(this.at);
    let [low, high] = [0, bytes.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      const { values } = this.#framing!.expected(bytes.subarray(0, middle));
      if (values.length >= taken) high = middle;
      else low = middle + 1;
    }
    this.at += high;
  }
}

/** Compares everything that came of a course with what the documentation allows. */
export function checkCourse(ends: readonly [End, End]): void {
  ends.forEach((end, i) => {
    const peer = ends[1 - i]!;
    checkOutgoing(end, peer);
    checkIncoming(end, peer);
  });
}

/** Reports whether an end may have closed the connection before a moment. */
function isGone(end: End, before: number): boolean {
  return end.closedAt < before || hasTimedOut(end);
}

/** Reports whether the peer has not read for `writeTimeout`, which closes the connection. */
function hasTimedOut(end: End): boolean {
  return end.options.writeTimeout !== undefined &&
    end.outgoing.some(({ result }) => errorOf(result) instanceof TimedOut);
}

function errorOf(result: Call["result"]): unknown {
  return result !== undefined && "error" in result ? result.error : undefined;
}

function checkOutgoing(end: End, peer: End): void {
  for (const call of end.outgoing) {
    const what = `${call.act}()`;
    assert(call.result !== undefined, `${what} has not settled`);
    const error = errorOf(call.result);
    if (error === undefined) {
      assert(
        !call.isLate || call.act !== "send" && call.act !== "write" ||
          call.phase.channel && call.phase.hasEnded,
        `${what} was called after the end, and resolved`,
      );
      continue;
    }
    const mayBeGone = isGone(peer, call.settledAt) || hasTimedOut(end);
    const isAllowed = error instanceof ConnectionClosed
      ? call.isLate || end.closedAt < call.settledAt || mayBeGone || end.endedAt < call.settledAt
      : error instanceof BrokenPipe || error instanceof ConnectionReset
      ? mayBeGone
      : error instanceof TimedOut && end.sent.size > KERNEL_BYTES &&
        (end.options.writeTimeout !== undefined || end.wasDisposalLong);
    assert(isAllowed, `${what} rejected without a reason: ${error}`);
    if (!call.isLate && !call.phase.hasEnded) checkUnsent(end, call, error);
  }
}

/**
 * What the kernel has not taken is a part of what was sent. Nothing lies between the two, unless
 * raw writes have failed before, each with its own bytes.
 */
function checkUnsent(end: End, call: Call, error: unknown): void {
  const { unsent } = error as { unsent?: Uint8Array };
  if (unsent === undefined || unsent.length === 0) return;
  const { bytes, starts } = end.sent;
  const isFound = starts.some((stop) => {
    const start = stop - unsent.length;
    const isNext = call.phase !== end.phases[0] || start <= end.conn.bytesWritten;
    return start >= 0 && isNext &&
      equalBytes(bytes.subarray(start, stop), unsent);
  });
  assert(isFound, `the unsent ${unsent.length} bytes are not those after ${end.conn.bytesWritten}`);
}

function checkIncoming(end: End, peer: End): void {
  const reference = new Reference(peer.sent);
  for (const phase of end.phases) {
    reference.begin(phase.framing);
    let last: Call["result"];
    for (const call of phase.incoming) {
      const { result } = call;
      assert(result !== undefined, `${call.act}() has not settled`);
      if ("values" in result) {
        assert(last === undefined, `a message came after ${Deno.inspect(last)}`);
        // When both directions have ended before close(), what had come can still be read. Writing
        // to a peer that is gone ends one, also when the channel writes what send() has queued.
        const hasEnded = end.endedAt < call.settledAt && peer.endedAt < call.settledAt;
        const mayRead = phase.framing === undefined &&
          (hasEnded || isGone(peer, call.settledAt));
        assert(!call.isLate || mayRead, `${call.act}() was called after the end, and received`);
        assert(result.values.length > 0, "an empty batch");
        for (const value of result.values) takeOne(reference, phase, value);
      } else if ("isEnd" in result) {
        const isOver = checkEnd(reference, call, end, peer);
        if (isOver) last ??= result;
      } else {
        const isFinal = checkFailure(reference, call, result.error, end, peer);
        if (!isFinal) continue;
        const before = errorOf(last);
        if (phase.framing !== undefined && before !== undefined) {
          assert(before === result.error, `another failure came after ${before}: ${result.error}`);
        }
        last ??= result;
      }
    }
  }
  reference.begin(undefined);
  if (end.closedAt !== Infinity || hasTimedOut(end)) return;
  if (isGone(peer, Infinity)) {
    assert(
      reference.at >= peer.sent.sure,
      `${peer.sent.sure} bytes were written, ${reference.at} came`,
    );
    return;
  }
  assertEquals(reference.at, peer.sent.size, "some bytes have not come");
  assertEquals(peer.conn.bytesWritten, peer.sent.size, "bytesWritten");
  assertEquals(end.conn.bytesRead, peer.sent.size, "bytesRead");
}

function takeOne(reference: Reference, phase: Phase, value: unknown): void {
  if (phase.framing === undefined) return reference.takeRaw(value as Uint8Array);
  const next = reference.next();
  assert(
    typeof next === "object",
    `a message came where the bytes are ${next}: ${Deno.inspect(value)}`,
  );
  if (value instanceof Uint8Array) {
    assert(
      equalBytes(value, next.value as Uint8Array),
      `a message of ${value.length} bytes differs`,
    );
  } else assertEquals(value, next.value);
  reference.take(next.size);
}

/** Checks an end without an error. Reports whether it is that of the peer. */
function checkEnd(reference: Reference, call: Call, end: End, peer: End): boolean {
  const { phase, settledAt, act } = call;
  const isClosed = end.closedAt < settledAt || phase.detachedAt < settledAt;
  if (isClosed && (act === "iterate" || act === "batch")) return false;
  if (phase.drainedAt < settledAt) return true;
  const isAll = isGone(peer, settledAt) ||
    peer.endedAt < settledAt &&
      (phase.framing === undefined ? reference.rest === 0 : reference.next() === "whole");
  assert(isAll, `the end came, with ${reference.rest} bytes left`);
  return true;
}

/** Checks that an error has its cause. Reports whether it ends receiving. */
function checkFailure(
  reference: Reference,
  call: Call,
  error: unknown,
  end: End,
  peer: End,
): boolean {
  const { phase, settledAt } = call;
  const refuse = () => assert(false, `${call.act}() rejected without a reason: ${error}`);
  if (error instanceof DOMException) {
    if (!(call.abortedAt < settledAt)) refuse();
    return false;
  }
  if (error instanceof ConnectionClosed) {
    const isEnded = call.isLate || end.closedAt < settledAt || phase.detachedAt < settledAt;
    if (!isEnded && !isGone(peer, settledAt) && !hasTimedOut(end)) refuse();
    return false;
  }
  if (error instanceof ConnectionReset || error instanceof BrokenPipe) {
    if (!isGone(peer, settledAt)) refuse();
    return true;
  }
  if (error instanceof TimedOut && hasTimedOut(end)) return true;
  if (phase.framing === undefined) refuse();
  const next = reference.next();
  if (error instanceof TimedOut) {
    // What another framing has sent may be a message, or malformed, only after several parts.
    const isPart = typeof next === "string"
      ? next !== "whole"
      : next.size > ONE_READ_BYTES || next.size === 0;
    if (end.options.frameTimeout === undefined || !isPart && !isGone(peer, settledAt)) refuse();
  } else if (error instanceof TruncatedMessage) {
    if (!isGone(peer, settledAt) && !(next === "truncated" && peer.endedAt < settledAt)) refuse();
  } else {
    const expected = error instanceof MessageTooLarge
      ? "too large"
      : error instanceof InvalidData
      ? "malformed"
      : undefined;
    if (next !== expected) refuse();
  }
  return true;
}
