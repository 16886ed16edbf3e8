/** What may come of a random course of calls. */

import { CallInterrupted, ConnectionClosed, MessageTooLarge, RpcError } from "@uds/uds";
import { RPC_CODES } from "@uds/uds/rpc";
import { assert, assertEquals } from "@std/assert";
import { type Made, MANY, REFUSED, type Side } from "./_calls.ts";

const { Busy, TimedOut, BrokenPipe, ConnectionReset } = Deno.errors;

/** Compares everything that came of a course with what the documentation allows. */
export function checkCalls(ends: readonly [Side, Side]): void {
  ends.forEach((end, i) => checkEnd(end, ends[1 - i]!));
}

/** Reports whether the connection may have ended before a moment. */
function mayHaveEnded(end: Side, peer: Side, before: number): boolean {
  return [end, peer].some((each) => each.closedAt < before || each.drainedAt < before);
}

function checkEnd(end: Side, peer: Side): void {
  const isCalm = !mayHaveEnded(end, peer, Infinity);
  const isRefusing = peer.limits.maxQueued < MANY;
  const runs = new Map<number, number>();
  let last = -1;
  for (const { method, token } of peer.ran) {
    assertEquals(end.made[token]?.method, method, `${method} ran with the token of another call`);
    assert(token > last, `${method} ${token} ran after ${last}`);
    last = token;
    runs.set(token, 1 + (runs.get(token) ?? 0));
  }
  for (const made of end.made) {
    const { method, token, result } = made;
    const what = `${method} ${token}`;
    assert(result !== undefined, `${what} has not settled`);
    const count = runs.get(token) ?? 0;
    assert(count <= 1, `${what} ran twice`);
    if ("error" in result) checkError(made, result.error, count, end, peer);
    else if (method === "note") {
      assert(count === 1 || !isCalm || isRefusing, `${what} was lost`);
    } else {
      assert(["echo", "hold", "ask"].includes(method), `${what} has a result`);
      assertEquals(result.value, token, what);
      assertEquals(count, 1, `how often ${what} ran`);
    }
  }
  for (const { token, wasAborted, method } of peer.ran) {
    if (method !== "hold" || wasAborted === undefined) continue;
    const mayAbort = end.made[token]!.givenUpAt < Infinity || !isCalm;
    assert(!wasAborted || mayAbort, `${method} ${token} was aborted without a reason`);
  }
  for (const { error, method } of end.errors) {
    const isOwn = method === "fail" || method === "ask";
    assert(isOwn || !isCalm, `onError was called for ${method}: ${error}`);
  }
}

function checkError(
  { method, token, settledAt, givenUpAt }: Made,
  error: unknown,
  count: number,
  end: Side,
  peer: Side,
): void {
  const what = `${method} ${token} rejected with ${error}, and ran ${count} times`;
  const hasEnded = mayHaveEnded(end, peer, settledAt);
  const isLimited = end.limits.maxQueued < MANY || peer.limits.maxQueued < MANY ||
    peer.limits.maxCalls < MANY;
  if (method === "note") {
    const isSendFailure = error instanceof BrokenPipe || error instanceof ConnectionReset ||
      error instanceof ConnectionClosed;
    return assert(isSendFailure && hasEnded, what);
  }
  if (error instanceof RpcError) {
    const { code, data, message } = error;
    if (method === "refuse" && code === REFUSED) {
      return assertEquals([data, count], [token, 1], what);
    }
    if (method === "fail" && message === `failed ${token}`) {
      return assertEquals([code, count], [RPC_CODES.INTERNAL_ERROR, 1], what);
    }
    if (method === "missing" && code === RPC_CODES.METHOD_NOT_FOUND) return;
    if (code === RPC_CODES.CANCELED) return assert(givenUpAt < settledAt, what);
    if (method === "ask" && count === 1) return assert(isLimited || hasEnded, what);
    assertEquals(count, 0, what);
    if (code === RPC_CODES.BUSY) return assert(peer.limits.maxQueued < MANY, what);
    return assert(code === RPC_CODES.DRAINING && peer.drainedAt < settledAt, what);
  }
  if (error instanceof CallInterrupted) {
    return assert(hasEnded && (error.sent || count === 0), what);
  }
  if (error instanceof DOMException || error instanceof TimedOut) {
    return assert(givenUpAt < settledAt, what);
  }
  assertEquals(count, 0, what);
  if (error instanceof Busy) return assert(end.limits.maxCalls < MANY, what);
  const isRefused = error instanceof MessageTooLarge && method === "large" ||
    error instanceof TypeError && method === "bad";
  assert(isRefused, what);
}
