/**
 * Relaying bytes between two connections.
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
import { readBuffer, SOCKET_BYTES } from "./_internal/base/read_buffer.ts";
import { systemError } from "./_internal/base/failure.ts";

/**
 * Options of {@linkcode relay}.
 *
 * @category Connections
 */
export interface RelayOptions {
  /** Ends the relay and closes both connections. The promise rejects with the signal's reason. */
  signal?: AbortSignal | undefined;
}

/**
 * The number of bytes that {@linkcode relay} has relayed.
 *
 * @category Connections
 */
export interface RelayResult {
  /** Bytes from `a` to `b`. */
  aToB: number;
  /** Bytes from `b` to `a`. */
  bToA: number;
}

/**
 * Relays bytes between two connections, both ways, until both directions have ended.
 *
 * - **Half-close**: the end of file of one connection is sent to the other. The way back stays
 *   open.
 * - **Early answers**: a connection that accepts no more bytes ends only the direction towards it.
 *   What it has sent is still relayed, up to its end. Then both are closed. Meanwhile the other
 *   connection can write no more than the kernel holds.
 * - **Resets**: what a connection sent before it was reset is relayed first. Then both are closed.
 * - **Backpressure**: each direction holds one buffer of 208 KiB. While the slower side does not
 *   take it, nothing more is read from the faster one.
 * - **Ownership**: it owns both connections from the start, and closes both before it settles.
 * - **Bytes only**: the descriptors that a peer sends along (`SCM_RIGHTS`) are dropped.
 * - `relay(conn, conn)` is an echo. Both counts are then the same.
 *
 * **Permissions**: none.
 *
 * @param a One connection.
 * @param b The other one.
 * @param options A signal to end it.
 * @returns The number of bytes of each direction.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {SocketError} when a connection fails: an error of the class of the first read or write
 * that failed, after both directions have ended. `aToB` and `bToA` are the bytes that were relayed,
 * `unsent` those that were read and could not be written.
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
 * await conn.writeText("ping");
 * await conn.closeWrite();
 * assertEquals(await new Response(conn.readable).text(), "ping");
 * ```
 *
 * @category Connections
 */
export async function relay(
  a: Connection,
  b: Connection,
  options: RelayOptions = {},
): Promise<RelayResult> {
  try {
    checkArguments("relay", arguments, 3, "relay(a, b, { signal })");
    return await checkAndRelay(a, b, options);
  } catch (error) {
    throw seenFrom(relay, error);
  }
}

const CHECKS: Checks<RelayOptions> = { signal: checkSignal };

async function checkAndRelay(
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

  const close = () => {
    a.close();
    b.close();
  };
  if (signal?.aborted) close();
  signal?.throwIfAborted();
  signal?.addEventListener("abort", close, { once: true });
  const failures: Failure[] = [];
  const ways = a === b ? [[a, a]] as const : [[a, b], [b, a]] as const;
  const [aToB = 0, bToA = aToB] = await Promise.all(
    ways.map(([from, to]) => relayOneWay(from, to, failures, close)),
  );
  close();
  signal?.removeEventListener("abort", close);
  signal?.throwIfAborted();
  const [failure] = failures;
  if (failure === undefined) return { aToB, bToA };
  const unsent = failures.find((each) => each.unsent !== undefined)?.unsent;
  const { operation = "relay", path = null } = failure;
  const fields = { operation, path, ...(unsent && { unsent }), aToB, bToA };
  throw systemError("Cannot go on relaying", failure, fields, failure.message);
}

/** What a read or a write rejects with. */
type Failure = Error & Partial<SocketError>;

/**
 * Relays one direction and its end. Never rejects.
 *
 * @param failures Gets the failure that has ended the direction.
 * @param close Closes both connections, because one that cannot be read takes nothing either.
 * @returns The number of bytes that were written.
 */
async function relayOneWay(
  from: Connection,
  to: Connection,
  failures: Failure[],
  close: () => void,
): Promise<number> {
  const buffer = readBuffer(SOCKET_BYTES);
  for (let total = 0;;) {
    let count;
    try {
      count = await from.read(buffer);
    } catch (error) {
      failures.push(error as Failure);
      // What came before the failure is followed by an end of file.
      await to.closeWrite().catch(() => {});
      close();
      return total;
    }
    try {
      if (count === null) {
        await to.closeWrite();
        return total;
      }
      await to.write(buffer.subarray(0, count));
      total += count;
    } catch (error) {
      const failure = error as Failure;
      failures.push(failure);
      // The peer might wait for more, and may still send something.
      await to.closeWrite().catch(() => {});
      return failure.unsent ? total + (count as number) - failure.unsent.length : total;
    }
  }
}
