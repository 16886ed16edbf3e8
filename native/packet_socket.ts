/** A socket that carries whole packets. */

import type { UnixAddr } from "../address.ts";

/**
 * The types of sockets that carry packets.
 *
 * @category Packets
 */
export type PacketType = "seqpacket" | "dgram";

/**
 * Options of {@linkcode PacketSocket.send} and {@linkcode PacketSocket.receive}.
 *
 * @category Packets
 */
export interface PacketWaitOptions {
  /** Ends the wait. The promise rejects with its reason. */
  signal?: AbortSignal | undefined;
}

/**
 * A connected Unix domain socket that keeps packets whole: one `send` is one `receive` of the peer.
 *
 * - **Types**: a `"seqpacket"` socket has an end, as a stream has. A `"dgram"` socket has none:
 *   `receive` goes on waiting when the peer has closed or exited, and only `send` reports it. That
 *   `send` makes Linux drop what was not received before.
 * - **Order**: packets arrive in the order in which `send` was called, also with several senders at
 *   once. Receives are served in the order in which they were called.
 * - **Sizes**: from 0 bytes to {@linkcode PacketSocket.maxPacketBytes}. A packet is never cut. A
 *   larger one rejects with `MessageTooLarge`, which has its size, and the socket goes on.
 * - **Empty packets** arrive as an empty array. They are distinguished from the end of a
 *   `"seqpacket"` socket, which is `null`.
 * - **Backpressure**: `send` resolves when the kernel has the packet. About 200 KiB fit, and each
 *   packet takes some 700 bytes more than its own.
 * - **Reading ahead**: up to 64 packets are received at once if they come faster than they are
 *   taken. `close` drops them, and the peer is not reset for them.
 * - **Descriptors** that come with a packet are closed, and the packet is delivered.
 * - **Failures** have the shape of `SocketError`. That of a `send` has the packet, as `unsent`.
 *
 * @category Packets
 */
export interface PacketSocket
  extends AsyncIterable<Uint8Array<ArrayBuffer>>, Disposable, AsyncDisposable {
  /** The type of the socket. */
  readonly type: PacketType;
  /** The address of this end. */
  readonly localAddr: UnixAddr;
  /** The address of the other end. */
  readonly remoteAddr: UnixAddr;
  /** The maximum number of bytes of a packet, sent or received. */
  readonly maxPacketBytes: number;
  /**
   * Sends one packet, after those that were sent before.
   *
   * - An abort of the signal rejects at once with its reason. Then the packet was not sent. If the
   *   promise has resolved, the packet was sent.
   * - A rejection that is not awaited does not end the process.
   *
   * @param packet The bytes. Do not change them before the promise settles.
   * @param options A signal.
   * @throws {MessageTooLarge} when the packet has more than `maxPacketBytes`.
   * @throws {Deno.errors.BrokenPipe} when the peer of a `"seqpacket"` socket has closed.
   * @throws {Deno.errors.ConnectionReset} when it has closed with packets of ours unread.
   * @throws {Deno.errors.ConnectionRefused} when the peer of a `"dgram"` socket has closed. Further
   * ones reject with `NotConnected`.
   * @throws {ConnectionClosed} when `close()` or `closeWrite()` was called.
   * @throws {TypeError} when `packet` is not a `Uint8Array`, its buffer is detached or resized
   * before it is sent, or an option does not exist.
   */
  send(packet: Uint8Array, options?: PacketWaitOptions): Promise<void>;
  /**
   * Receives one packet, waiting for it.
   *
   * - An abort of the signal rejects at once with its reason, and loses no packet: what comes later
   *   is for the next call.
   *
   * @param options A signal.
   * @returns The packet, in memory of its own; `null` at the end of a `"seqpacket"` socket, again
   * at each further call.
   * @throws {MessageTooLarge} when a packet has more than `maxPacketBytes`. It is dropped, and the
   * next call returns the next packet.
   * @throws {Deno.errors.ConnectionReset} instead of the end, when the peer has closed with packets
   * of ours unread. What it had sent is returned first.
   * @throws {ConnectionClosed} when `close()` was called before or meanwhile.
   * @throws {TypeError} when an option does not exist.
   */
  receive(options?: PacketWaitOptions): Promise<Uint8Array<ArrayBuffer> | null>;
  /**
   * Receives packets until the end. Breaking out of a loop does not close the socket.
   *
   * @returns The packets.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array<ArrayBuffer>>;
  /**
   * Sends the end, after all packets that were sent before. Receiving goes on. Idempotent.
   *
   * @throws {Deno.errors.NotSupported} when the type is `"dgram"`, which has no end.
   * @throws {ConnectionClosed} when `close()` was called before or meanwhile.
   */
  closeWrite(): Promise<void>;
  /**
   * Closes the socket at once: pending receives and queued sends reject with `ConnectionClosed`.
   * Idempotent; so is disposal.
   *
   * `await using` waits for queued sends first, for 5 seconds at most.
   */
  close(): void;
  /** Makes a pending call keep the process alive, which is the default. */
  ref(): void;
  /** Allows the process to exit while a call is pending. */
  unref(): void;
}
