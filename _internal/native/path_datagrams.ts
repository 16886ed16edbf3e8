/** The datagram socket behind `bindPackets()`. */

import type { SocketPath, UnixAddr } from "../../address.ts";
import type { PacketWaitOptions } from "../../native/packet_socket.ts";
import { seenFrom } from "../base/caller_stack.ts";
import { onAbort } from "../base/event_loop.ts";
import { rejected } from "../base/rejection.ts";
import { absoluteSocketPath } from "../base/socket_path.ts";
import { settlesWithin } from "../base/silence.ts";
import type { Libc } from "../libc/library.ts";
import { ownName } from "../libc/socket_name.ts";
import type { Reporter } from "../server/reporter.ts";
import { PacketPace } from "./packet_pace.ts";
import { checkPacket, checkWait, FdPacketSocket, FLUSH_MS } from "./packet_socket.ts";
import type { PathOwner } from "./path_owner.ts";
import { PathReceiver, type Sender } from "./path_receiver.ts";

/**
 * A packet, and the socket that sent it.
 *
 * @category Packets
 */
export interface Datagram {
  /** The bytes. Nothing else uses their memory. */
  readonly packet: Uint8Array<ArrayBuffer>;
  /**
   * The name of the sender, to which `send` can answer; `null` if it has none, or one that is not
   * UTF-8. It is the name that the sender has bound: a relative path starts at the sender's working
   * directory.
   */
  readonly from: string | null;
}

/**
 * A datagram socket that sends to any path, and receives from any sender.
 *
 * - **Order**: packets to one path arrive in the order in which `send` was called. Receives are
 *   served in the order in which they were called.
 * - **Sizes**: from 0 bytes to {@linkcode DatagramSocket.maxPacketBytes}. A packet is never cut. A
 *   larger one rejects with `MessageTooLarge`, which has its size, and the socket goes on.
 * - **Backpressure**: `send` resolves when the kernel has put the packet into the queue of the
 *   receiver, which on Linux holds 11 packets (`net.unix.max_dgram_qlen` and one). A full queue
 *   delays only the packets to that receiver. Large packets that were not received yet fill the
 *   send buffer, which delays all others, too.
 * - **No end**: a receiver does not notice that a sender has exited.
 * - **Trust**: `from` is what the sender has bound. Any process that may write to the socket file
 *   can send: see `mode`.
 *
 * @category Packets
 */
export interface DatagramSocket extends AsyncIterable<Datagram>, AsyncDisposable {
  /** The address of the socket. */
  readonly addr: UnixAddr;
  /** The maximum number of bytes of a packet, sent or received. */
  readonly maxPacketBytes: number;
  /**
   * Sends one packet, after those that were sent to the same path before.
   *
   * - The first packet to a path needs the permissions that `connectPackets()` needs for it. They
   *   are not asked for again until the socket closes.
   * - An abort of the signal rejects at once with its reason. Then the packet was not sent. If the
   *   promise has resolved, it was.
   * - A rejection that is not awaited does not end the process.
   *
   * @param packet The bytes. Do not change them before the promise settles.
   * @param to The path or the abstract name of the receiver.
   * @param options A signal.
   * @throws {SocketNotFound} when the file does not exist.
   * @throws {NothingListening} when no socket has the path any more.
   * @throws {NotASocket} when it is not a datagram socket.
   * @throws {ConnectDenied} when the file system does not allow it.
   * @throws {Deno.errors.PermissionDenied} when the receiver is connected to another socket.
   * @throws {MessageTooLarge} when the packet has more than `maxPacketBytes`.
   * @throws {ConnectionClosed} when `close()` was called before or meanwhile.
   * @throws {TypeError} when an argument is of the wrong kind, or the buffer of the packet is
   * detached or resized before it is sent.
   * @throws {Deno.errors.NotCapable} when a Deno permission for the receiver is missing.
   */
  send(packet: Uint8Array, to: SocketPath, options?: PacketWaitOptions): Promise<void>;
  /**
   * Receives one packet, waiting for it.
   *
   * - An abort of the signal rejects at once with its reason, and loses no packet: what comes later
   *   is for the next call.
   *
   * @param options A signal.
   * @returns The packet and its sender.
   * @throws {MessageTooLarge} when a packet is larger than the limit. It is dropped, and the next
   * call returns the next packet.
   * @throws {ConnectionClosed} when `close()` was called before or meanwhile.
   * @throws {TypeError} when an option does not exist.
   */
  receive(options?: PacketWaitOptions): Promise<Datagram>;
  /**
   * Receives packets until the socket closes. Breaking out of a loop does not close it.
   *
   * @returns The packets and their senders.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Datagram>;
  /**
   * Closes the socket at once: pending receives and queued sends reject with `ConnectionClosed`.
   * Removes the socket file, if it is still the one that was bound, and then the lock. Idempotent;
   * so is disposal.
   *
   * `await using` waits for queued sends first, for 5 seconds at most.
   *
   * @throws {SocketError} when a file cannot be removed; the socket closes all the same.
   */
  close(): Promise<void>;
  /** Makes a pending call keep the process alive, which is the default. */
  ref(): void;
  /** Allows the process to exit while a call is pending. */
  unref(): void;
}

/** The number of receivers that are remembered. */
const MOST_RECEIVERS = 1024;

/** What a datagram socket has besides its descriptor. */
export interface DatagramOptions {
  /** The path that it owns. */
  readonly owner?: PathOwner | undefined;
  readonly reporter: Reporter;
  readonly maxPacketBytes: number | undefined;
  readonly signal: AbortSignal | undefined;
}

/** A socket that is not connected. */
export class PathDatagrams implements DatagramSocket {
  readonly addr: UnixAddr;
  readonly maxPacketBytes: number;
  readonly #options: DatagramOptions;
  readonly #sender: Sender;
  /** Receives, and owns the descriptor. */
  readonly #socket: FdPacketSocket;
  readonly #receivers = new Map<string, PathReceiver>();
  readonly #pace = new PacketPace();
  #closed: Promise<void> | undefined;
  readonly #stopListeningToSignal: () => void;

  constructor(libc: Libc, fd: number, options: DatagramOptions) {
    this.addr = { transport: "unix", path: ownName(libc, fd) || null };
    this.#options = options;
    this.#socket = new FdPacketSocket(libc, fd, {
      type: "dgram",
      localAddr: this.addr,
      remoteAddr: { transport: "unix", path: null },
      maxPacketBytes: options.maxPacketBytes,
    });
    this.maxPacketBytes = this.#socket.maxPacketBytes;
    this.#sender = { libc, fd, maxPacketBytes: this.maxPacketBytes };
    this.#stopListeningToSignal = onAbort(options.signal, () => {
      this.close().catch(options.reporter.report);
    });
  }

  send(packet: Uint8Array, to: SocketPath, options?: PacketWaitOptions): Promise<void> {
    try {
      checkPacket(packet);
      const signal = checkWait("send", options);
      const receiver = this.#receiver(to);
      if (this.#closed !== undefined) throw receiver.closedError(packet);
      return receiver.send(packet, signal, this.#pace.next());
    } catch (error) {
      return rejected(seenFrom(this.send, error));
    }
  }

  /** Returns a receiver, which has been allowed once. */
  #receiver(to: SocketPath): PathReceiver {
    const known = typeof to === "string" ? this.#receivers.get(to) : undefined;
    if (known !== undefined) return known;
    const path = absoluteSocketPath(to);
    const receiver = this.#receivers.get(path) ?? new PathReceiver(this.#sender, path);
    this.#receivers.set(path, receiver);
    if (this.#receivers.size > MOST_RECEIVERS) this.#forgetOne();
    return receiver;
  }

  /** Forgets the oldest receiver for which no packet waits. */
  #forgetOne(): void {
    for (const [path, receiver] of this.#receivers) {
      if (receiver.isIdle) return void this.#receivers.delete(path);
    }
  }

  async receive(options?: PacketWaitOptions): Promise<Datagram> {
    try {
      // Such a socket has no end.
      const { packet, from } = (await this.#socket.receiveFrom(options))!;
      return { packet, from: from === "" ? null : from };
    } catch (error) {
      throw seenFrom(this.receive, error);
    }
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Datagram> {
    try {
      for (;;) yield await this.receive();
    } catch (error) {
      if (this.#closed === undefined) throw seenFrom(this[Symbol.asyncIterator], error);
    }
  }

  close(): Promise<void> {
    return this.#closed ??= this.#close();
  }

  // deno-lint-ignore require-await -- it rejects if a file cannot be removed
  async #close(): Promise<void> {
    this.#stopListeningToSignal();
    const { owner, reporter } = this.#options;
    try {
      owner?.release();
    } finally {
      for (const receiver of this.#receivers.values()) receiver.close();
      this.#socket.close();
      reporter.flush();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const receivers = [...this.#receivers.values()];
    await settlesWithin(Promise.all(receivers.map((receiver) => receiver.idle)), FLUSH_MS);
    await this.close();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }
}
