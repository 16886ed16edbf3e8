/**
 * Passing everything on between two connections.
 *
 * @module
 */

import type { Connection } from "./connection.ts";
import type { SocketError } from "./errors.ts";
import { seenFrom } from "./_internal/caller_stack.ts";
import { checkArguments, checkOptions, checkSignal, show } from "./_internal/options.ts";
import { readBuffer } from "./_internal/read_buffer.ts";
import { systemError } from "./_internal/system_error.ts";

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
 * - **Backpressure**: a direction holds one buffer of 256 KiB; while the slower side does not take it,
 *   nothing more is read from the faster one.
 * - **Ownership**: it owns both connections from the start. They are closed when it settles, whatever
 *   the reason.
 * - A connection with itself, `relay(conn, conn)`, is an echo; both counts are then the same.
 *
 * **Permissions**: none.
 *
 * @param a One connection.
 * @param b The other one.
 * @param options A signal to end it.
 * @returns The number of bytes of each direction.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {SocketError} when a connection fails: an error of the class of the failing read or write, with
 * the bytes that were passed on as `aToB` and `bToA`.
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
  checkOptions("relay", options, ["signal"]);
  const { signal } = options;
  checkSignal(signal);

  const counts = { aToB: 0, bToA: 0 };
  const close = () => {
    a.close();
    b.close();
  };
  signal?.addEventListener("abort", close, { once: true });
  const failures: Error[] = [];
  const ways = signal?.aborted
    ? []
    : a === b
    ? [pump(a, b, (bytes) => counts.bToA = counts.aToB += bytes)]
    : [
      pump(a, b, (bytes) => counts.aToB += bytes),
      pump(b, a, (bytes) => counts.bToA += bytes),
    ];
  // The first failure ends both ways: closing makes the other one settle.
  await Promise.all(ways.map((way) =>
    way.catch((error) => {
      failures.push(error);
      close();
    })
  ));
  close();
  signal?.removeEventListener("abort", close);
  signal?.throwIfAborted();
  const [failure] = failures as (Error & Partial<SocketError>)[];
  if (failure === undefined) return counts;
  const fields = {
    operation: failure.operation ?? "relay",
    path: failure.path ?? null,
    ...(failure.unsent && { unsent: failure.unsent }),
    ...counts,
  };
  throw systemError("Cannot go on relaying", failure, fields, failure.message);
}

/** Passes one direction on, and its end. */
async function pump(
  from: Connection,
  to: Connection,
  passed: (bytes: number) => void,
): Promise<void> {
  const buffer = readBuffer(BUFFER_SIZE);
  for (;;) {
    const count = await from.read(buffer);
    if (count === null) return await to.closeWrite();
    await to.write(buffer.subarray(0, count));
    passed(count);
  }
}
