/** The datagram socket behind `bindPackets()`. */

import type { SocketPath, UnixAddr } from "../../address.ts";
import type { Datagram, DatagramSocket } from "../../native/bind_packets.ts";
import type { PacketWaitOptions } from "../../native/packet_socket.ts";
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
      return rejected(error);
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
    // Such a socket has no end.
    const { packet, from } = (await this.#socket.receiveFrom(options))!;
    return { packet, from: from === "" ? null : from };
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Datagram> {
    try {
      for (;;) yield await this.receive();
    } catch (error) {
      if (this.#closed === undefined) throw error;
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
