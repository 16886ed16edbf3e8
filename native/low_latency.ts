/** Connections that look for bytes for some microseconds before they wait. */

import type { Connection } from "../connection.ts";
import { checked } from "../_internal/base/caller_stack.ts";
import { checkArguments, checkOptions, type Checks, integer } from "../_internal/base/check.ts";
import type { SocketConnection } from "../_internal/connection/socket_connection.ts";
import { checkConnection, requireDescriptor } from "../_internal/native/checked_connection.ts";
import { lookAhead } from "../_internal/native/low_latency.ts";

/**
 * Options of {@linkcode lowLatency}.
 *
 * @category Native
 */
export interface LowLatencyOptions {
  /**
   * How long, in microseconds, a read looks for bytes before it waits: from 1 to 1,000. The default
   * is about what the wake-up of a processor costs.
   *
   * @default {20}
   */
  lookFor?: number | undefined;
}

const CHECKS: Checks<LowLatencyOptions> = { lookFor: integer(1, 1000) };

/**
 * Lowers the latency of a connection between two ends that take turns, such as a client that sends
 * a small request and waits for the response. A read then looks for the bytes for some microseconds
 * before it waits.
 *
 * - **Why**: most of such a round trip is the time in which a sleeping processor wakes up. While
 *   both ends look, neither sleeps. So call it at both ends. If the peer is another program, which
 *   sleeps, less is gained.
 * - **When**: the ends must have taken 8 turns, and no other connection of this process may have
 *   had bytes since the last read. A turn has at most 4 reads and 4 writes, of 16 KiB at most each.
 *   Until then, and for all other traffic, reads and writes are the usual ones.
 * - **When not**: it gains nothing for bulk, for short connections, for a process with many busy
 *   connections, and for a peer that takes longer than `lookFor` to answer. It gains little if both
 *   ends share one processor. It notices all that, and waits as usual: when looking takes longer
 *   than waiting would, a growing number of reads do not look.
 * - **The price** is the processor, which looks instead of sleeping. It is offered to other
 *   programs at each try. A turn then takes less processor time than with two sleeping ends.
 * - **Other work of this process**: timers run after at most 64 reads that have found bytes, and
 *   other sockets are polled after at most 2 milliseconds.
 * - **All else stays as it is**: the order of reads and writes, the end of file, errors, timeouts,
 *   signals, streams, `messages()`, backpressure, `closed`.
 * - It can be called at any time, also while reads wait. Another call changes `lookFor`.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param conn The connection.
 * @param options How long to look.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when `lookFor` is out of range.
 * @throws {ConnectionClosed} when the connection has closed.
 * @throws {Deno.errors.NotSupported} when its descriptor is not known, it was opened with
 * `descriptors: true`, or libc cannot be used. The connection goes on as before.
 * @throws {Deno.errors.NotCapable} when the permission is missing.
 *
 * @example Usage
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { lowLatency } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/echo.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   lowLatency(conn);
 *   await conn.readable.pipeTo(conn.writable);
 * });
 *
 * await using conn = await connect(path);
 * lowLatency(conn, { lookFor: 30 });
 * const buffer = new Uint8Array(64);
 * for (let i = 0; i < 100; i++) {
 *   await conn.write(Uint8Array.of(i));
 *   assertEquals(await conn.read(buffer), 1);
 *   assertEquals(buffer[0], i);
 * }
 * ```
 *
 * @category Native
 */
export function lowLatency(conn: Connection, options: LowLatencyOptions = {}): void {
  checked(lowLatency, () => {
    checkArguments("lowLatency", arguments, 2, "lowLatency(conn, { lookFor })");
    checkOptions("lowLatency", options, CHECKS);
    const target = checkConnection("lowLatency", "lower the latency to", conn);
    requireDescriptor(target);
    lookAhead(target.context, conn as SocketConnection, options.lookFor);
  });
}
