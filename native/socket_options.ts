/** Buffers of a connection, what waits in them, and the backlog of a server. */

import { resolveSocketPath, type SocketPath } from "../address.ts";
import type { Connection } from "../connection.ts";
import { checked, seenFrom } from "../_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkInteger,
  checkOptions,
  type Checks,
  checkSignal,
  integer,
} from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { turn } from "../_internal/base/event_loop.ts";
import { GrowingPauses } from "../_internal/base/growing_pauses.ts";
import { quoteAddress } from "../_internal/base/shown_address.ts";
import { ObservedTime } from "../_internal/base/silence.ts";
import { IS_MAC, SHUT_RD, SO_RCVBUF, SO_SNDBUF } from "../_internal/libc/constants.ts";
import { lastFailure } from "../_internal/libc/failure.ts";
import { type Libc, requireLibc } from "../_internal/libc/library.ts";
import {
  hasError,
  numberOption,
  setNumberOption,
  unreadBytes as bytesToRead,
  unsentMemory,
} from "../_internal/libc/socket_option.ts";
import { checkConnection, requireDescriptor } from "../_internal/native/checked_connection.ts";
import { listenersAt } from "../_internal/native/open_sockets.ts";

/**
 * The sizes of a connection's buffers in the kernel.
 *
 * @category Native
 */
export interface BufferSizes {
  /** How many bytes this side may send before the peer has read any. */
  readonly send: number;
  /** How many bytes may wait to be read. Linux does not use it for Unix sockets. */
  readonly receive: number;
}

/**
 * Options of {@linkcode setBufferSizes}.
 *
 * @category Native
 */
export interface SetBufferSizesOptions {
  /**
   * The size of the send buffer, in bytes.
   *
   * @default {as it is}
   */
  send?: number | undefined;
  /**
   * The size of the receive buffer, in bytes.
   *
   * @default {as it is}
   */
  receive?: number | undefined;
}

/**
 * Options of {@linkcode delivered}.
 *
 * @category Native
 */
export interface DeliveredOptions {
  /**
   * Ends the wait: the call rejects with the signal's reason. Nothing else changes.
   *
   * @default {no signal}
   */
  signal?: AbortSignal | undefined;
}

const MAX_SIZE = 0x3fff_ffff;

const SIZE_CHECKS: Checks<SetBufferSizesOptions> = {
  send: integer(1, MAX_SIZE),
  receive: integer(1, MAX_SIZE),
};

const DELIVERED_CHECKS: Checks<DeliveredOptions> = { signal: checkSignal };

/** The pauses, in milliseconds, between two looks at what the peer has not read. */
const FIRST_PAUSE_MS = 1;
const LAST_PAUSE_MS = 20;
/** How many looks are made before the first pause. */
const QUICK_LOOKS = 10;

/**
 * Returns the sizes of a connection's buffers in the kernel.
 *
 * - Linux doubles what was set, because it counts its own memory, too: 208 KiB by default.
 * - Linux counts what the peer has not read against the send buffer. It does not use the receive
 *   buffer of a Unix socket.
 * - macOS does not double, and uses both.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param conn The connection.
 * @returns The sizes, in bytes.
 * @throws {TypeError} when it is not a connection of this package.
 * @throws {Deno.errors.NotCapable} when the permission is missing; it names the flag.
 * @throws {ConnectionClosed} when the connection has closed.
 * @throws {Deno.errors.NotSupported} when the descriptor of the connection is not known.
 *
 * @example Usage
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { bufferSizes, setBufferSizes } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * await using _server = await serve(path, () => Promise.resolve());
 * await using conn = await connect(path);
 * const before = bufferSizes(conn);
 * assertEquals(setBufferSizes(conn, { send: before.send }).send, 2 * before.send);
 * ```
 *
 * @category Native
 */
export function bufferSizes(conn: Connection): BufferSizes {
  return checked(bufferSizes, () => {
    checkArguments("bufferSizes", arguments, 1, "bufferSizes(conn)");
    const { libc, fd } = open(conn, "bufferSizes", "read the buffers of the connection to");
    return sizesOf(libc, fd);
  });
}

/**
 * Sets the sizes of a connection's buffers in the kernel.
 *
 * - With a send buffer of 256 KiB and writes of that size, bulk transfers are up to a fifth faster,
 *   depending on the machine. Larger buffers are slower, because the processor's cache is not.
 * - Linux doubles the number. It sets its own limit without an error if the number is larger than
 *   `net.core.wmem_max` or `net.core.rmem_max`, 208 KiB or more: see what is returned.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param conn The connection.
 * @param options The sizes, in bytes.
 * @returns The sizes that the kernel uses from now on.
 * @throws {TypeError} when it is not a connection of this package, or an option is wrong.
 * @throws {Deno.errors.NotCapable} when the permission is missing; it names the flag.
 * @throws {ConnectionClosed} when the connection has closed.
 * @throws {Deno.errors.NotSupported} when the descriptor of the connection is not known.
 *
 * @example A larger send buffer
 * ```ts
 * import { setBufferSizes, socketpair } from "@uds/uds/native";
 * import { assert } from "@std/assert";
 *
 * const [a, b] = socketpair();
 * const { send } = setBufferSizes(a, { send: 100_000 });
 * assert(send >= 100_000);
 * a.close();
 * b.close();
 * ```
 *
 * @category Native
 */
export function setBufferSizes(conn: Connection, options: SetBufferSizesOptions): BufferSizes {
  return checked(setBufferSizes, () => {
    checkArguments("setBufferSizes", arguments, 2, "setBufferSizes(conn, { send })");
    checkOptions("setBufferSizes", options, SIZE_CHECKS);
    const { context, libc, fd } = open(
      conn,
      "setBufferSizes",
      "set the buffers of the connection to",
    );
    try {
      if (options.send !== undefined) setNumberOption(libc, fd, SO_SNDBUF, options.send);
      if (options.receive !== undefined) setNumberOption(libc, fd, SO_RCVBUF, options.receive);
    } catch (cause) {
      throw context.fail(cause);
    }
    return sizesOf(libc, fd);
  });
}

/**
 * Returns how many bytes of the peer wait in the kernel. Those that a stream of the connection has
 * read ahead are not among them.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param conn The connection.
 * @returns The number of bytes.
 * @throws {TypeError} when it is not a connection of this package.
 * @throws {Deno.errors.NotCapable} when the permission is missing; it names the flag.
 * @throws {ConnectionClosed} when the connection has closed.
 * @throws {Deno.errors.NotSupported} when the descriptor of the connection is not known.
 *
 * @example Usage
 * ```ts
 * import { socketpair, unreadBytes } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = socketpair();
 * await a.writeText("ping");
 * assertEquals(unreadBytes(b), 4);
 * a.close();
 * b.close();
 * ```
 *
 * @category Native
 */
export function unreadBytes(conn: Connection): number {
  return checked(unreadBytes, () => {
    checkArguments("unreadBytes", arguments, 1, "unreadBytes(conn)");
    const { context, libc, fd } = open(conn, "unreadBytes", "count the unread bytes of");
    try {
      return bytesToRead(libc, fd);
    } catch (cause) {
      throw context.fail(cause);
    }
  });
}

/**
 * Waits until the peer has read everything that was written.
 *
 * - A write resolves when the kernel has the bytes. This resolves when the program of the peer has
 *   them. What the peer does with them only an answer can tell.
 * - Await the writes first: those that the kernel does not have yet do not count.
 * - It looks again and again, at first at every turn of the event loop, then every 20 milliseconds.
 * - If it is aborted, the connection is as before.
 * - Linux only.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param conn The connection.
 * @param options A signal that ends the wait.
 * @returns A promise that resolves when the peer has read everything.
 * @throws {TypeError} when it is not a connection of this package.
 * @throws {Deno.errors.ConnectionReset} when the peer closed before it had read everything.
 * @throws {Deno.errors.NotCapable} when the permission is missing; it names the flag.
 * @throws {ConnectionClosed} when the connection has closed.
 * @throws {Deno.errors.NotSupported} when the descriptor of the connection is not known, or on
 * macOS.
 *
 * @example Usage
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { delivered } from "@uds/uds/native";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await conn.read(new Uint8Array(1024));
 * });
 * await using conn = await connect(path);
 * await conn.writeText("hello");
 * await delivered(conn);
 * ```
 *
 * @category Native
 */
export async function delivered(conn: Connection, options: DeliveredOptions = {}): Promise<void> {
  try {
    checkArguments("delivered", arguments, 2, "delivered(conn, { signal })");
    checkOptions("delivered", options, DELIVERED_CHECKS);
    const { signal } = options;
    signal?.throwIfAborted();
    const pauses = new GrowingPauses(FIRST_PAUSE_MS, LAST_PAUSE_MS);
    const time = new ObservedTime();
    for (let looks = 0;; looks++) {
      const { context, libc, fd } = open(conn, "delivered", "wait for delivery to");
      if (IS_MAC) throw context.error(Deno.errors.NotSupported, "macOS does not report it");
      let left: number;
      try {
        left = unsentMemory(libc, fd);
      } catch (cause) {
        throw context.fail(cause);
      }
      // When the peer closes, the kernel drops what is left, and notes an error here.
      if (left === 0 && !hasError(libc, fd)) return;
      if (left === 0) {
        throw context.fail(
          Object.assign(new Deno.errors.ConnectionReset(), { code: "ECONNRESET" }),
        );
      }
      if (looks < QUICK_LOOKS) await turn();
      else await time.pause(pauses.next(), signal);
      signal?.throwIfAborted();
    }
  } catch (error) {
    throw seenFrom(delivered, error);
  }
}

/**
 * Ends the direction from the peer: its next write fails with `EPIPE`.
 *
 * - What waits in the kernel can still be read. Then reads resolve to `null`, pending ones as well.
 * - Writing goes on. The counterpart is `conn.closeWrite()`.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param conn The connection.
 * @throws {TypeError} when it is not a connection of this package.
 * @throws {Deno.errors.NotCapable} when the permission is missing; it names the flag.
 * @throws {Deno.errors.NotConnected} when the peer has closed.
 * @throws {ConnectionClosed} when the connection has closed.
 * @throws {Deno.errors.NotSupported} when the descriptor of the connection is not known.
 *
 * @example Usage
 * ```ts
 * import { closeRead, socketpair } from "@uds/uds/native";
 * import { assertEquals, assertRejects } from "@std/assert";
 *
 * const [a, b] = socketpair();
 * closeRead(b);
 * assertEquals(await b.read(new Uint8Array(1)), null);
 * await assertRejects(() => a.write(Uint8Array.of(1)), Deno.errors.BrokenPipe);
 * a.close();
 * b.close();
 * ```
 *
 * @category Native
 */
export function closeRead(conn: Connection): void {
  checked(closeRead, () => {
    checkArguments("closeRead", arguments, 1, "closeRead(conn)");
    const { context, libc, fd } = open(conn, "closeRead", "end reading from");
    if (libc.shutdown(fd, SHUT_RD) < 0) throw context.fail(lastFailure(libc));
  });
}

/**
 * Sets how many clients may wait until this process accepts them.
 *
 * - It changes the listener that this process has at the path, of this package or of Deno. Clients
 *   that wait already stay.
 * - Further clients are refused: `connect()` tries them again until its `timeout`.
 * - Deno's listeners have 1,024. Linux allows at most `net.core.somaxconn` (4,096 by default), and
 *   uses that without an error if the number is larger. One client more than that can wait.
 * - A listener that is made later, such as one that heals a path, has the number of the option
 *   `backlog` of `serve()` or `listen()` again.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param path The path of the listener.
 * @param backlog The maximum number of clients that wait.
 * @throws {TypeError} when the path or the number is not valid.
 * @throws {Deno.errors.NotCapable} when the permission is missing; it names the flag.
 * @throws {Deno.errors.NotFound} when this process has no listener there.
 *
 * @example Usage
 * ```ts
 * import { serve } from "@uds/uds";
 * import { setBacklog } from "@uds/uds/native";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * await using _server = await serve(path, () => Promise.resolve());
 * setBacklog(path, 4096);
 * ```
 *
 * @category Native
 */
export function setBacklog(path: SocketPath, backlog: number): void {
  checked(setBacklog, () => {
    checkArguments("setBacklog", arguments, 2, "setBacklog(path, backlog)");
    checkInteger("backlog", backlog, 0, 0x7fff_ffff);
    const resolved = resolveSocketPath(path);
    const start = `Cannot set the backlog of ${quoteAddress(resolved)}`;
    const context = new ErrorContext("setBacklog", resolved, start);
    const libc = requireLibc(context);
    // A server that publishes its path by rename was bound to another name.
    const names = [resolved, `${resolved}.new`];
    const listeners = listenersAt(libc, names);
    if (listeners.length === 0) {
      const state = "this process does not listen there. Call serve() or listen() first";
      throw context.error(Deno.errors.NotFound, state);
    }
    for (const { fd } of listeners) {
      if (libc.listen(fd, backlog) < 0) throw context.fail(lastFailure(libc));
    }
  });
}

function sizesOf(libc: Libc, fd: number): BufferSizes {
  return {
    send: numberOption(libc, fd, SO_SNDBUF),
    receive: numberOption(libc, fd, SO_RCVBUF),
  };
}

/** Returns libc and the descriptor of a connection. */
function open(
  conn: Connection,
  operation: string,
  verb: string,
): { context: ErrorContext<string | null>; libc: Libc; fd: number } {
  const checked = checkConnection(operation, verb, conn);
  return { context: checked.context, libc: checked.libc, fd: requireDescriptor(checked) };
}
