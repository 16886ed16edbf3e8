/** Connections for the tests that follow the web platform's tests of streams. */

import { type Connection, socketpair } from "@uds/uds";
import { assertStrictEquals } from "@std/assert";
import { turn } from "../_helpers.ts";

/** More bytes than the kernel holds for a reader that stalls. */
export const LARGE: number = 2 * 1024 * 1024;

/** A connection under test, and its peer. */
export interface Ends extends Disposable {
  conn: Connection;
  peer: Connection;
}

/** Connects two ends. */
export async function ends(): Promise<Ends> {
  const [conn, peer] = await socketpair();
  return { conn, peer, [Symbol.dispose]: () => [conn, peer].forEach((one) => one.close()) };
}

/** Connects two ends, and the peer resets the connection: it leaves with a byte unread. */
export async function resetEnds(): Promise<Ends> {
  const both = await ends();
  await both.conn.write(new Uint8Array(1));
  both.peer.close();
  return both;
}

/** Two connections to pipe, from `source` to `target`, and the peers that send and receive. */
export interface Line extends Disposable {
  source: Connection;
  target: Connection;
  sender: Connection;
  receiver: Connection;
}

/** Connects a line. */
export async function line(): Promise<Line> {
  const [sender, source] = await socketpair();
  const [target, receiver] = await socketpair();
  const all = [source, target, sender, receiver];
  return {
    source,
    target,
    sender,
    receiver,
    [Symbol.dispose]: () => all.forEach((one) => one.close()),
  };
}

/** Connects a line. Its source has failed with `error`. */
export async function failedLine(): Promise<Line & { error: unknown }> {
  const parts = await line();
  await parts.source.write(new Uint8Array(1));
  parts.sender.close();
  const reader = parts.source.readable.getReader();
  const error = await failureOf(reader.read());
  reader.releaseLock();
  return { ...parts, error };
}

/** Resolves when no reader or writer has the stream any more. */
export async function unlocked(stream: { readonly locked: boolean }): Promise<void> {
  while (stream.locked) await turn();
}

/** Returns what a promise rejects with. */
export function failureOf(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(() => "it has resolved", (error) => error);
}

/** Asserts that promises reject with one and the same error. */
export async function assertAllRejectWith(
  error: unknown,
  promises: Promise<unknown>[],
): Promise<void> {
  for (const promise of promises) assertStrictEquals(await failureOf(promise), error);
}
