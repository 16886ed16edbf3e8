/**
 * Passing everything on between two connections.
 *
 * @module
 */

import type { Connection } from "./connection.ts";
import type { SocketError } from "./errors.ts";
import { seenFrom } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkOptions,
  type Checks,
  checkSignal,
  show,
} from "./_internal/base/check.ts";
import { readBuffer } from "./_internal/base/read_buffer.ts";
import { systemError } from "./_internal/base/failure.ts";

/** Options of {@linkcode relay}. */
export interface RelayOptions {
  /** Ends the relay and closes both connections; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** What a {@linkcode relay} has passed on. */
export interface RelayResult {
  /** Bytes from `a` to `b`. */
  aToB: number;
  /** Bytes from `b` to `a`. */
  bToA: number;
}

/** Bytes that are read at once. */
const BUFFER_SIZE = 256 * 1024;

/**
 * Passes bytes on between two connections, both ways, until both directions have ended.
 *
 * - **Half-close**: the end of file of one is passed on to the other, and the way back stays open.
 * - **Early answers**: a connection that takes no more ends only the direction towards it. What it has
 *   sent is still passed on, up to its end; then both are closed. The other connection can write no more
 *   meanwhile than the kernel holds.
 * - **Resets**: what a connection sent before it was reset is passed on first. Then both are closed.
 * - **Backpressure**: a direction holds one buffer of 256 KiB; while the slower side does not take it,
 *   nothing more is read from the faster one.
 * - **Ownership**: it owns both connections from the start. They are closed when it settles, whatever
 *   the reason.
 * - **Bytes only**: descriptors that a peer sends along (`SCM_RIGHTS`) are not passed on. Deno drops them.
 * - A connection with itself, `relay(conn, conn)`, is an echo; both counts are then the same.
 *
 * **Permissions**: none.
 *
 * @param a One connection.
 * @param b The other one.
 * @param options A signal to end it.
 * @returns The number of bytes of each direction.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {SocketError} when a connection fails: an error of the class of the first read or write that
 * failed, after both directions have ended. `aToB` and `bToA` are the bytes that were passed on, `unsent`
 * those that were read and could not be written.
 * @throws {unknown} the reason of `signal` when it aborts.
 *
 * @example An echo server
 * ```ts
 * import { connect, relay, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/echo.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await relay(conn, conn);
 * });
 * await using conn = await connect(path);
 * await conn.write(new TextEncoder().encode("ping"));
 * await conn.closeWrite();
 * assertEquals(await new Response(conn.readable).text(), "ping");
 * ```
 */
export async function relay(
  a: Connection,
  b: Connection,
  options: RelayOptions = {},
): Promise<RelayResult> {
  try {
    checkArguments("relay", arguments, 3, "relay(a, b, { signal })");
    return await relayBoth(a, b, options);
  } catch (error) {
    throw seenFrom(relay, error);
  }
}

const CHECKS: Checks<RelayOptions> = { signal: checkSignal };

/** Checks the options, and passes both ways. */
async function relayBoth(
  a: Connection,
  b: Connection,
  options: RelayOptions,
): Promise<RelayResult> {
  for (const conn of [a, b]) {
    if (typeof conn?.read !== "function" || typeof conn.closeWrite !== "function") {
      throw new TypeError(`Invalid connection: expected a Connection, got ${show(conn)}`);
    }
  }
  checkOptions("relay", options, CHECKS);
  const { signal } = options;

  const counts = { aToB: 0, bToA: 0 };
  const close = () => {
    a.close();
    b.close();
  };
  signal?.addEventListener("abort", close, { once: true });
  const failures: Failure[] = [];
  const failed = (failure: Failure) => void failures.push(failure);
  const ways = signal?.aborted
    ? []
    : a === b
    ? [pump(a, b, (bytes) => counts.bToA = counts.aToB += bytes, failed, close)]
    : [
      pump(a, b, (bytes) => counts.aToB += bytes, failed, close),
      pump(b, a, (bytes) => counts.bToA += bytes, failed, close),
    ];
  await Promise.all(ways);
  close();
  signal?.removeEventListener("abort", close);
  signal?.throwIfAborted();
  const [failure] = failures;
  if (failure === undefined) return counts;
  const unsent = failures.find((each) => each.unsent !== undefined)?.unsent;
  const fields = {
    operation: failure.operation ?? "relay",
    path: failure.path ?? null,
    ...(unsent && { unsent }),
    ...counts,
  };
  throw systemError("Cannot go on relaying", failure, fields, failure.message);
}

/** What a read or a write rejects with. */
type Failure = Error & Partial<SocketError>;

/**
 * Passes one direction on, and its end. Never rejects.
 *
 * @param failed Called at a failure. A connection that takes nothing more may still have sent something, so
 * the other direction goes on.
 * @param gone Called when `from` cannot be read any more: then it takes nothing either.
 */
async function pump(
  from: Connection,
  to: Connection,
  passed: (bytes: number) => void,
  failed: (failure: Failure) => void,
  gone: () => void,
): Promise<void> {
  const buffer = readBuffer(BUFFER_SIZE);
  for (;;) {
    let count;
    try {
      count = await from.read(buffer);
    } catch (error) {
      failed(error as Failure);
      // What came before the failure is followed by an end, where the other side can still be told.
      await to.closeWrite().catch(() => {});
      return gone();
    }
    try {
      if (count === null) return await to.closeWrite();
      await to.write(buffer.subarray(0, count));
    } catch (error) {
      const failure = error as Failure;
      if (count !== null && failure.unsent) passed(count - failure.unsent.length);
      failed(failure);
      // It might wait for more.
      return await to.closeWrite().catch(() => {});
    }
    passed(count);
  }
}
