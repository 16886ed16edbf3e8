/**
 * Connections: the one type with which servers, clients, and parent and child processes exchange
 * bytes.
 *
 * @module
 */

import { checked } from "./_internal/base/caller_stack.ts";
import type { UnixAddr } from "./address.ts";
import { checkArguments, show } from "./_internal/base/check.ts";
import { recordAdopted } from "./_internal/connection/native_slot.ts";
import { type ReadOptions, SocketConnection } from "./_internal/connection/socket_connection.ts";

export type { UnixAddr } from "./address.ts";
export type { ReadOptions } from "./_internal/connection/socket_connection.ts";

/**
 * A connected Unix domain socket: a stream of bytes in each direction.
 *
 * - **Order**: bytes arrive whole and in the order in which `write` was called, also with several
 *   writers at once. Each `write` is one uninterrupted run of bytes. Reads are served in the order
 *   in which they were called. Message boundaries do not exist: one `write` may arrive in many
 *   reads, many in one.
 * - **Backpressure**: a `write` resolves when all its bytes are in the kernel, which holds about
 *   200 KiB for a reader that stalls.
 * - **Ends**: each direction ends by itself. `closeWrite()` sends the end of file, and reading goes
 *   on. At the peer's end of file `read` resolves to `null`, and writing goes on. When both
 *   directions have ended, the descriptor closes by itself, and `closed` resolves.
 * - **Streams and methods** use the same connection, and can be used by turns. What a stream had
 *   read when it was cancelled is not lost: the next `read` returns it. (As the standard says,
 *   bytes in the queue of the stream itself are dropped. It has some only if one reader was
 *   released before another one cancelled.) A `read` that takes over from a released reader locks
 *   the stream until it settles.
 * - **Descriptors and out-of-band bytes** are dropped, unless the connection was opened with
 *   `descriptors: true` (see `@uds/uds/native`). What follows them in the kernel is read only
 *   when more comes, or at the end of file, because of how Deno waits for a socket.
 * - **Failures** reject with the error that Deno has for them (`ConnectionReset`, `BrokenPipe`) in
 *   the shape of `SocketError`. The error of a `write` has the bytes that were not sent, as
 *   `unsent`. If the peer closes before it has read everything from us, the kernel makes that a
 *   reset: once everything that it sent has been read, the next read rejects.
 *
 * @category Connections
 */
export interface Connection extends Disposable, AsyncDisposable {
  /** The address of this end. */
  readonly localAddr: UnixAddr;
  /** The address of the other end. For a client, the path that it connected to. */
  readonly remoteAddr: UnixAddr;
  /**
   * What the peer sends, as a byte stream. "Bring your own buffer" readers work.
   *
   * - Its end does not close the connection: writing goes on.
   * - Each chunk has its own memory, as much as its bytes need. It can be kept.
   * - Cancelling it ends the direction: the descriptor closes once writing has ended too.
   */
  readonly readable: ReadableStream<Uint8Array<ArrayBuffer>>;
  /**
   * What this side sends, as a stream. Its `close()` is `closeWrite()`; its `abort()` is `close()`.
   *
   * - `abort()` settles at once, also while a write waits for a peer that does not read. So does
   *   `conn.readable.pipeTo(other.writable, { signal })` when the signal aborts. Piping from any
   *   other stream, or with `preventAbort`, waits for the write under way, as the standard says.
   *   Call `close()` when the signal aborts.
   * - As with any stream, a rejected promise of its writer ends the process if it is not awaited.
   *   This differs from `write`.
   */
  readonly writable: WritableStream<Uint8Array>;
  /**
   * Resolves when the connection has closed, or the peer has left: nothing more can be sent. Never
   * rejects. A handler that does not read can wait for it, and stop.
   *
   * - **Closed** means that `close()` was called, a timeout is over, or both directions have ended.
   * - **A peer that has left** has closed its end or exited, also by SIGKILL. It is noticed at
   *   once, or up to 250 ms later if it had ended its direction before. What it sent can still be
   *   read. A peer that has only ended its direction (`closeWrite()`) has not left.
   * - **The first use reads ahead**: up to 64 KiB, while nothing else reads. The next reads return
   *   these bytes first, in order. They count in `bytesRead`. Like a pending read, it keeps the
   *   process alive unless `unref()` was called. It does not count for `idleTimeout`.
   * - **Limits**: the kernel does not report everything. After `closeWrite()` on this side, a peer
   *   that has left is noticed at its end of file only, which may be behind unread bytes. On a
   *   pair, the other process also counts as gone after its exit and its end of file, even if
   *   another process still holds its end.
   */
  readonly closed: Promise<void>;
  /** The number of bytes that have been read, or read ahead, so far. */
  readonly bytesRead: number;
  /** The number of bytes that the kernel has taken so far. */
  readonly bytesWritten: number;
  /**
   * Reads the available bytes, waiting for at least one. Resolves to their number, or to `null` at
   * end of file.
   *
   * - An abort of the signal rejects at once with its reason, and loses no byte: what comes later
   *   is for the next read. With a signal, a read brings at most 64 KiB.
   *
   * @param buffer Where to put the bytes, up to its length. Do not use it before the promise
   * settles.
   * @param options A signal.
   * @returns The number of bytes, or `null` at end of file, again at each further call. With an
   * empty buffer, 0 at once.
   * @throws {Deno.errors.ConnectionReset} when the peer closed with bytes of ours unread.
   * @throws {Deno.errors.TimedOut} when the server's `idleTimeout` or `firstByteTimeout` is over.
   * @throws {ConnectionClosed} when `close()` was called before or meanwhile.
   * @throws {unknown} the reason of `signal` when it aborts.
   * @throws {TypeError} when `buffer` is not a `Uint8Array`, its memory is detached, or an option
   * does not exist.
   */
  read(buffer: Uint8Array, options?: ReadOptions): Promise<number | null>;
  /**
   * Writes all of the data, after everything that was written before.
   *
   * - A rejection that is not awaited does not end the process.
   * - A write of no bytes checks whether the peer is still there. (When a peer has ended its own
   *   direction, only such a write shows whether it has gone.) The write rejects with
   *   `ConnectionReset` instead of `BrokenPipe` if the peer has left bytes unread.
   *
   * @param data The bytes. Do not change them before the promise settles.
   * @returns Their number.
   * @throws {Deno.errors.BrokenPipe} when the peer is gone; `unsent` has what the kernel did not
   * take (of a pair, up to 256 KiB of what it did take may be in it as well).
   * @throws {Deno.errors.TimedOut} when the peer has read nothing for the server's `writeTimeout`,
   * or a read has timed out; `unsent` as well.
   * @throws {ConnectionClosed} when `close()` or `closeWrite()` was called; `unsent` as well.
   * @throws {TypeError} when `data` is not a `Uint8Array`, or its buffer is detached or resized
   * before all of it is sent. If the peer has a part of it, the connection closes.
   */
  write(data: Uint8Array): Promise<number>;
  /**
   * Writes a text as UTF-8, as {@linkcode Connection.write} does.
   *
   * @param text The text. Nothing is added to it: a line needs its `"\n"`.
   * @returns The number of bytes.
   * @throws {TypeError} when `text` is not a string.
   */
  writeText(text: string): Promise<number>;
  /**
   * Sends the end of file, after everything that was written before. Reading goes on. Idempotent.
   *
   * @throws {ConnectionClosed} when `close()` was called before or meanwhile.
   */
  closeWrite(): Promise<void>;
  /**
   * Closes the connection at once: pending reads and queued writes reject with `ConnectionClosed`.
   * The error of a write has the bytes that were not sent. Idempotent; so is disposal.
   *
   * `await using` waits for queued writes first, for 5 seconds at most.
   */
  close(): void;
  /** Makes a pending read keep the process alive, which is the default. */
  ref(): void;
  /** Allows the process to exit while a read is pending. */
  unref(): void;
}

/**
 * Makes a {@linkcode Connection} of a connection from `Deno.connect` or a `Deno.Listener`.
 *
 * - It takes ownership: close the result, and do not use the original any more. Deno's own streams
 *   of it must not have been used: they close the whole connection at the end of one direction.
 *
 * **Permissions**: none.
 *
 * @param conn A connection with `transport: "unix"`.
 * @returns The connection.
 * @throws {TypeError} when it is not such a connection.
 *
 * @example Usage
 * ```ts
 * import { serve, toConnection } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/echo.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await conn.readable.pipeTo(conn.writable);
 * });
 *
 * const raw = await Deno.connect({ transport: "unix", path });
 * await using conn = toConnection(raw);
 * await conn.writeText("hello");
 * await conn.closeWrite();
 * assertEquals(await new Response(conn.readable).text(), "hello");
 * ```
 *
 * @category Connections
 */
export function toConnection(conn: Deno.UnixConn): Connection {
  checked(toConnection, () => {
    checkArguments("toConnection", arguments, 1, "toConnection(conn)");
    checkUnixConn(conn);
  });
  const { localAddr, remoteAddr } = conn;
  recordAdopted(conn);
  return new SocketConnection(conn, {
    localAddr: { transport: "unix", path: localAddr.path },
    remoteAddr: { transport: "unix", path: remoteAddr.path },
  });
}

function checkUnixConn(conn: Deno.UnixConn): void {
  const methods = ["read", "write", "closeWrite", "close", "ref", "unref"] as const;
  if (
    typeof conn !== "object" || conn === null ||
    !methods.every((name) => typeof conn[name] === "function")
  ) {
    throw new TypeError(`Invalid connection: expected a Deno.UnixConn, got ${show(conn)}`);
  }
  for (const addr of [conn.localAddr, conn.remoteAddr]) {
    if (addr?.transport !== "unix") {
      throw new TypeError(
        `Invalid connection: expected the transport "unix", got ${show(addr?.transport)}`,
      );
    }
  }
}
