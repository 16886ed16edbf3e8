/** Descriptors over a connection: open files, pipes, sockets, listeners. */

import type { Connection, ReadOptions } from "../connection.ts";
import { rejected } from "../_internal/base/rejection.ts";
import { seenFrom } from "../_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkInteger,
  checkOptions,
  type Checks,
  checkSignal,
  show,
} from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { pathOf, shownPeer } from "../_internal/connection/connection_error.ts";
import type { Attachment } from "../_internal/connection/input.ts";
import {
  readAndKeep,
  type SocketConnection,
  transportOf,
  writeWith,
} from "../_internal/connection/socket_connection.ts";
import { requireLibc } from "../_internal/libc/library.ts";
import { MAX_DESCRIPTORS } from "../_internal/libc/message.ts";
import { DescriptorsLost, type Incoming, Outgoing } from "../_internal/native/descriptor_batch.ts";
import { type Descriptor, OwnedDescriptor } from "../_internal/native/descriptor_handle.ts";
import { DescriptorTransport } from "../_internal/native/descriptor_transport.ts";

export type { Descriptor } from "../_internal/native/descriptor_handle.ts";

/**
 * What {@linkcode sendDescriptors} sends: a number, a descriptor, or a connection.
 *
 * @category Descriptors
 */
export type Sendable = number | Descriptor | Connection;

/**
 * What {@linkcode receiveDescriptors} has received.
 *
 * @category Descriptors
 */
export interface Received {
  /** The number of bytes. */
  readonly count: number;
  /** The descriptors that came with these bytes, in the order of the sender. Often none. */
  readonly descriptors: Descriptor[];
}

/**
 * Sends bytes, and descriptors with the first of them.
 *
 * - **Order**: it is a write like any other, after everything that was written before.
 * - **Backpressure**: it resolves when the kernel has taken everything.
 * - **Ownership**: yours stay yours. The peer gets duplicates. You may close yours as soon as this
 *   function has returned its promise.
 * - **Limits**: 253 descriptors at once, with at least one byte. The kernel also limits how many
 *   may be on their way for one user (`ulimit -n`): beyond that it rejects with `ETOOMANYREFS`.
 * - **A connection** that was opened with `descriptors: true` can be sent, for example to a worker
 *   process that goes on serving the client. Then close yours. What it has read ahead stays here.
 *   A `Deno.UnixConn` must not be sent: closing it shuts the socket down for the receiver too.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param conn A connection that was opened with `descriptors: true`, or by a {@linkcode
 * Descriptor}.
 * @param data At least one byte. Do not change them before the promise settles.
 * @param fds Numbers, descriptors that were received, connections.
 * @returns The number of bytes.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when there is no byte, no descriptor, or more than 253.
 * @throws {Deno.errors.NotSupported} when the connection cannot send descriptors.
 * @throws {Deno.errors.BadResource} when a descriptor or a connection was closed before.
 * @throws {SocketError} with `code` `"EBADF"` when a number is not open. Nothing was sent then.
 * @throws {SocketError} what `write` throws.
 *
 * @example Usage
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { receiveDescriptors, sendDescriptors } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/files.sock`;
 * await using _server = await serve({ path, descriptors: true }, async (conn) => {
 *   // Standard input, for example.
 *   await sendDescriptors(conn, new TextEncoder().encode("stdin"), [0]);
 * });
 *
 * await using conn = await connect({ path, descriptors: true });
 * const buffer = new Uint8Array(100);
 * const received = await receiveDescriptors(conn, buffer);
 * assertEquals(received?.count, 5);
 * assertEquals(received?.descriptors.length, 1);
 * using _stdin = received?.descriptors[0]?.toFile();
 * ```
 *
 * @category Descriptors
 */
export function sendDescriptors(
  conn: Connection,
  data: Uint8Array,
  fds: readonly Sendable[],
): Promise<number> {
  try {
    checkArguments("sendDescriptors", arguments, 3, "sendDescriptors(conn, data, fds)");
    checkBytes("data", data);
    const numbers = numbersOf(fds);
    const { libc } = requireTransport(conn, "sendDescriptors", "send descriptors to");
    const outgoing = new Outgoing(libc, numbers);
    const sending = writeWith(conn as SocketConnection, data, outgoing);
    outgoing.keepOpen();
    const close = () => outgoing.close();
    sending.then(close, close);
    return sending;
  } catch (error) {
    return rejected(seenFrom(sendDescriptors, error));
  }
}

const RECEIVE_CHECKS: Checks<ReadOptions> = { signal: checkSignal };

/**
 * Reads bytes, and keeps the descriptors that came with them.
 *
 * - **Order**: it is a read like any other, in the order of the calls. It ends at the bytes that
 *   descriptors came with, so two messages with descriptors never share a read. Bytes that were
 *   sent before them may be in the same read, because the kernel joins them.
 * - **A plain read**, a stream or `messages()` closes the descriptors that it passes.
 * - **Bytes that were read ahead**, by `closed` or by a read that was aborted, still have their
 *   descriptors. At most one message with descriptors is read ahead.
 * - **Nothing leaks**: what no call has received is closed with the connection at the latest.
 * - **Too many open files**: if this process has no descriptor left, the kernel drops some of the
 *   message. Then it rejects with `code` `"EMFILE"` and closes the others. The next read returns
 *   the bytes.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param conn A connection that was opened with `descriptors: true`, or by a {@linkcode
 * Descriptor}.
 * @param buffer Where to put the bytes, up to its length. Do not use it before the promise
 * settles.
 * @param options A signal. An abort loses neither bytes nor descriptors.
 * @returns The number of bytes, and the descriptors, which are yours: dispose of each. `null` at
 * the end of file.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the buffer is empty.
 * @throws {Deno.errors.NotSupported} when the connection cannot receive descriptors.
 * @throws {SocketError} with `code` `"EMFILE"` when descriptors were lost.
 * @throws {SocketError} what `read` throws.
 * @throws {unknown} the reason of `signal` when it aborts.
 *
 * @example Usage
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { receiveDescriptors, sendDescriptors } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/files.sock`;
 * await using _server = await serve({ path, descriptors: true }, async (conn) => {
 *   await sendDescriptors(conn, new Uint8Array(1), [0, 1]);
 * });
 *
 * await using conn = await connect({ path, descriptors: true });
 * const received = await receiveDescriptors(conn, new Uint8Array(1));
 * const [input, output] = received?.descriptors ?? [];
 * using _input = input;
 * using _output = output;
 * assertEquals(typeof input?.fd, "number");
 * ```
 *
 * @category Descriptors
 */
export async function receiveDescriptors(
  conn: Connection,
  buffer: Uint8Array,
  options: ReadOptions = {},
): Promise<Received | null> {
  try {
    const call = "receiveDescriptors(conn, buffer, { signal })";
    checkArguments("receiveDescriptors", arguments, 3, call);
    checkBytes("buffer", buffer);
    checkOptions("receiveDescriptors", options, RECEIVE_CHECKS);
    return await receive(conn, buffer, options.signal);
  } catch (error) {
    throw seenFrom(receiveDescriptors, error);
  }
}

async function receive(
  conn: Connection,
  buffer: Uint8Array,
  signal: AbortSignal | undefined,
): Promise<Received | null> {
  const { context, libc } = requireTransport(
    conn,
    "receiveDescriptors",
    "receive descriptors from",
  );
  signal?.throwIfAborted();
  let incoming: Incoming | undefined;
  const keep = (attachment: Attachment) => incoming = attachment as Incoming;
  let count;
  try {
    count = await readAndKeep(conn as SocketConnection, buffer, signal, keep);
  } catch (cause) {
    if (!(cause instanceof DescriptorsLost)) throw cause;
    const state = "this process has too many open files, so some that came with the next bytes " +
      "were lost. Raise its limit (ulimit -n)";
    throw context.fail(cause, state);
  }
  if (count === null) return null;
  const descriptors = incoming?.take().map((fd) => new OwnedDescriptor(libc, fd)) ?? [];
  return { count, descriptors };
}

function checkBytes(name: string, bytes: unknown): void {
  if (!(bytes instanceof Uint8Array)) {
    throw new TypeError(`Invalid ${name}: expected a Uint8Array, got ${show(bytes)}`);
  }
  if (bytes.length === 0) {
    throw new RangeError(
      `Invalid ${name}: it is empty, and descriptors come with at least one byte`,
    );
  }
}

/** Returns the numbers of the descriptors to send. */
function numbersOf(fds: readonly Sendable[]): number[] {
  if (!Array.isArray(fds)) {
    throw new TypeError(`Invalid fds: expected an array, got ${show(fds)}`);
  }
  if (fds.length === 0 || fds.length > MAX_DESCRIPTORS) {
    throw new RangeError(
      `Invalid fds: expected 1 to ${MAX_DESCRIPTORS} descriptors, got ${fds.length}. ` +
        (fds.length === 0 ? "Use write() for bytes alone" : "Send several messages"),
    );
  }
  return fds.map((each, i) => {
    const name = `fds[${i}]`;
    const fd = typeof each === "object" && each !== null ? numberOf(name, each) : each;
    checkInteger(name, fd, 0, 0x7fff_ffff);
    return fd;
  });
}

function numberOf(name: string, each: Connection | Descriptor): number {
  const transport = transportOf(each);
  if (transport === undefined) return (each as Descriptor).fd;
  if (!(transport instanceof DescriptorTransport)) {
    throw new TypeError(
      `Invalid ${name}: closing this connection would shut it down for the receiver too. Open it ` +
        `with descriptors: true`,
    );
  }
  if (transport.fd !== undefined) return transport.fd;
  const context = new ErrorContext("sendDescriptors", null, "Cannot send a connection");
  throw context.error(Deno.errors.BadResource, "it has closed");
}

/** Returns what a call needs. Throws unless the connection has a transport with descriptors. */
function requireTransport(conn: Connection, operation: string, verb: string) {
  const transport = transportOf(conn);
  if (transport === undefined) {
    throw new TypeError(`Invalid connection: expected a Connection, got ${show(conn)}`);
  }
  const context = new ErrorContext(operation, pathOf(conn), `Cannot ${verb} ${shownPeer(conn)}`);
  if (!(transport instanceof DescriptorTransport)) {
    const state = "the connection was opened without descriptors: true. Pass that option to " +
      "connect(), listen(), serve(), pair() or inherited()";
    throw context.error(Deno.errors.NotSupported, state);
  }
  return { context, libc: requireLibc(context) };
}
