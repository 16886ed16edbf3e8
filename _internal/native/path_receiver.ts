/**
 * One receiver of a datagram socket, and the packets that wait for room in its queue.
 *
 * A socket that is not connected always counts as writable. So a full queue is awaited by another
 * socket, which is connected to the receiver (`unix_dgram_poll` in net/unix/af_unix.c of Linux).
 */

import { ConnectionClosed, MessageTooLarge } from "../../errors.ts";
import { seen } from "../base/caller_stack.ts";
import { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";
import { bufferLost, bytesFrom } from "../base/lasting_buffer.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { socketPermissions } from "../base/socket_permissions.ts";
import { EAGAIN, EINTR, MSG_DONTWAIT, MSG_NOSIGNAL } from "../libc/constants.ts";
import { errnoOf, failureOf } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { readiness } from "../libc/readiness.ts";
import { encodeName } from "../libc/socket_name.ts";
import { sendLimitOf } from "./fd_packets.ts";
import { tooLargeState, type WaitingPacket } from "./packet_socket.ts";
import { PacketWaits } from "./packet_waits.ts";
import { connectTo, openSocket, packetRefusal } from "./path_socket.ts";

/** The socket that sends. */
export interface Sender {
  readonly libc: Libc;
  readonly fd: number;
  readonly maxPacketBytes: number;
}

/** One receiver of a datagram socket. */
export class PathReceiver {
  readonly #sender: Sender;
  readonly #context: ErrorContext;
  readonly #address: Uint8Array;
  readonly #waits: PacketWaits<WaitingPacket, true>;

  /**
   * Throws `NotCapable` unless this process may connect to the path.
   *
   * @param sender The socket, which is not connected.
   * @param path The absolute path or the abstract name of the receiver.
   */
  constructor(sender: Sender, path: string) {
    this.#sender = sender;
    this.#context = new ErrorContext("send", path, `Cannot send a packet to ${quoteAddress(path)}`);
    this.#context.require(socketPermissions("connect", path, {}));
    this.#address = encodeName(path);
    this.#waits = new PacketWaits({
      attempt: ({ packet, size }) => this.#put(packet, size),
      ready: (signal) => this.#untilRoom(signal),
    });
  }

  /** Whether no packet waits. */
  get isIdle(): boolean {
    return this.#waits.length === 0;
  }

  /** Resolves when no packet waits. */
  get idle(): Promise<void> {
    return this.#waits.idle;
  }

  /**
   * Sends a packet after those that wait.
   *
   * @param signal Takes it back, unless it is sent.
   * @param first What to wait for before.
   */
  send(packet: Uint8Array, signal?: AbortSignal, first?: Promise<unknown>): Promise<void> {
    const { maxPacketBytes } = this.#sender;
    const { length: size } = packet;
    if (size > maxPacketBytes) throw this.#tooLarge(size, maxPacketBytes);
    if (first === undefined && this.isIdle && this.#put(packet, size)) return Promise.resolve();
    return seen(this.#waits.add({ packet, size }, signal, first).then(() => {}), true);
  }

  /** Ends the packets that wait. */
  close(): void {
    this.#waits.fail(({ packet, size }) => this.closedError(bytesFrom(packet, 0, size)));
  }

  /** Returns the error for a packet after `close()`. */
  closedError(unsent: Uint8Array | undefined): Error {
    return this.#context.error(ConnectionClosed, "close() was called on this side", { unsent });
  }

  /** Sends a packet, unless it would wait. */
  #put(packet: Uint8Array, size: number): true | undefined {
    if (packet.length !== size) throw this.#context.fail(bufferLost());
    const { libc, fd } = this.#sender;
    const [flags, to] = [MSG_DONTWAIT | MSG_NOSIGNAL, this.#address];
    for (;;) {
      if (libc.sendto(fd, packet, BigInt(size), flags, to, to.length) >= 0) return true;
      const errno = errnoOf(libc);
      if (errno === EAGAIN) return undefined;
      if (errno !== EINTR) throw this.#failed(failureOf(libc, errno), packet);
    }
  }

  #failed(cause: unknown, unsent: Uint8Array): Error {
    const { libc, fd } = this.#sender;
    if (codeOf(cause) === "EMSGSIZE") {
      return this.#tooLarge(unsent.length, sendLimitOf(libc, fd), cause);
    }
    const error = packetRefusal(this.#context, cause, libc, "dgram");
    return Object.defineProperty(error, "unsent", { value: unsent, configurable: true });
  }

  #tooLarge(size: number, limit: number, cause?: unknown): Error {
    const state = tooLargeState(size, limit, this.#sender.maxPacketBytes);
    return this.#context.error(MessageTooLarge, state, { cause, size, limit });
  }

  /** Resolves when the send buffer and the receiver's queue have room, or cannot be awaited. */
  async #untilRoom(signal: AbortSignal): Promise<void> {
    const { libc, fd } = this.#sender;
    const waits = readiness(libc);
    let other: number | undefined;
    try {
      await waits.wait(fd, "write", signal);
      other = openSocket(libc, "dgram");
      connectTo(libc, other, this.#context.path);
      await waits.wait(other, "write", signal);
    } catch {
      // The next attempt reports what is wrong.
    } finally {
      if (other !== undefined) {
        waits.forget(other, undefined);
        libc.close(other);
      }
    }
  }
}
