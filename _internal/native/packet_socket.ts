/**
 * The one implementation of `PacketSocket`, over a descriptor.
 *
 * - A packet is sent and received by a system call that does not wait. Only if it would wait, the
 *   operation waits until the socket is ready.
 * - recvmsg(2) returns 0 for an empty packet and for the end of a seqpacket socket. Each packet is
 *   therefore received with a timestamp (`SO_TIMESTAMP`), which the end does not have.
 * - The kernel reports a reset before the packets that came earlier. It is kept until the end.
 *
 * ```
 *   receiving  open ──▶ end      the end has come: `null`, or the reset
 *   sending    open ──▶ ended    `closeWrite()` was called
 *   open ──▶ closed              `close()` was called
 * ```
 */

import type { UnixAddr } from "../../address.ts";
import { ConnectionClosed, MessageTooLarge } from "../../errors.ts";
import type { PacketSocket, PacketType, PacketWaitOptions } from "../../native/packet_socket.ts";
import { checkOptions, type Checks, checkSignal, show } from "../base/check.ts";
import { codeOf, stateOf, systemError } from "../base/failure.ts";
import { handled, rejected } from "../base/rejection.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { settlesWithin } from "../base/silence.ts";
import {
  EAGAIN,
  EINTR,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SHUT_WR,
  SO_SNDBUF,
  SO_TIMESTAMP,
} from "../libc/constants.ts";
import { errnoOf, failureOf, lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { type Direction, type Readiness, readiness } from "../libc/readiness.ts";
import { numberOption, setNumberOption } from "../libc/socket_option.ts";
import { MOST_PACKETS, PacketMessages } from "./packet_messages.ts";
import { PacketPace } from "./packet_pace.ts";
import { PacketWaits } from "./packet_waits.ts";

/** What a packet takes of the send buffer besides its bytes (`unix_dgram_sendmsg` of Linux). */
const SEND_OVERHEAD = 32;

/** How long an async disposal waits for queued packets. */
const FLUSH_MS = 5000;

const WAIT_CHECKS: Checks<PacketWaitOptions> = { signal: checkSignal };

const CLOSED = "close() was called on this side";
const ENDED = "closeWrite() was called on this side";

/** What a socket is besides its descriptor. */
export interface PacketSocketOptions {
  type: PacketType;
  localAddr: UnixAddr;
  remoteAddr: UnixAddr;
  /** The largest packet, to send and to receive; what the kernel's buffer allows by default. */
  maxPacketBytes?: number | undefined;
}

/** A packet, and the name of the socket that sent it; `""` without one. */
export interface ReceivedPacket {
  readonly packet: Uint8Array<ArrayBuffer>;
  readonly from: string;
}

type Operation = "send" | "receive" | "closeWrite";

const VERBS: Record<Operation, [verb: string, joint: string]> = {
  send: ["send a packet", "to"],
  receive: ["receive a packet", "from"],
  closeWrite: ["end the packets", "to"],
};

/** What all sockets of this thread receive into. */
let messages: PacketMessages | undefined;

/** A socket over a descriptor, which it owns. */
export class FdPacketSocket implements PacketSocket {
  readonly type: PacketType;
  readonly localAddr: UnixAddr;
  readonly remoteAddr: UnixAddr;
  readonly maxPacketBytes: number;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #messages: PacketMessages;
  readonly #readiness: Readiness;

  #state: "open" | "closed" = "open";
  /** The packets that were received, the next one last. */
  readonly #ahead: (ReceivedPacket | MessageTooLarge)[] = [];
  /** The number of packets to receive at once. */
  #batch = 1;
  #hasEnded = false;
  /** That the peer has closed with packets of ours unread. */
  #reset: unknown;
  #closeWrite: Promise<void> | undefined;
  readonly #pace = new PacketPace();

  readonly #receives: PacketWaits<void, ReceivedPacket | null>;
  readonly #sends: PacketWaits<Uint8Array, true>;

  /**
   * @param libc The functions.
   * @param fd A descriptor of a socket of the type. It need not be non-blocking.
   * @param options The type and the addresses.
   */
  constructor(libc: Libc, fd: number, options: PacketSocketOptions) {
    this.#libc = libc;
    this.#fd = fd;
    this.#messages = messages ??= new PacketMessages(libc);
    this.#readiness = readiness(libc);
    this.type = options.type;
    this.localAddr = options.localAddr;
    this.remoteAddr = options.remoteAddr;
    this.maxPacketBytes = options.maxPacketBytes ?? this.#most;
    // The kernel takes twice the number.
    const half = Math.ceil((this.maxPacketBytes + SEND_OVERHEAD) / 2);
    if (this.#most < this.maxPacketBytes) setNumberOption(libc, fd, SO_SNDBUF, half);
    if (this.type === "seqpacket") setNumberOption(libc, fd, SO_TIMESTAMP, 1);
    this.#receives = new PacketWaits({
      attempt: () => this.#take(),
      ready: (signal) => this.#ready("read", signal),
    });
    this.#sends = new PacketWaits({
      attempt: (packet) => this.#put(packet),
      ready: (signal) => this.#ready("write", signal),
    });
  }

  /** The largest packet that the send buffer holds. */
  get #most(): number {
    return numberOption(this.#libc, this.#fd, SO_SNDBUF) - SEND_OVERHEAD;
  }

  send(packet: Uint8Array, options?: PacketWaitOptions): Promise<void> {
    try {
      checkPacket(packet);
      const signal = checkWait("send", options);
      const { length } = packet;
      if (length > this.maxPacketBytes) throw this.#tooLarge("send", length, this.maxPacketBytes);
      if (this.#state === "closed") throw this.#closed("send", CLOSED, packet);
      if (this.#closeWrite !== undefined) throw this.#closed("send", ENDED, packet);
      const mayGoOn = this.#sends.length === 0 && this.#pace.mayGoOn();
      if (mayGoOn && this.#put(packet)) return Promise.resolve();
      return handled(this.#sends.add(packet, signal, this.#pace.othersFirst()).then(() => {}));
    } catch (error) {
      return rejected(error);
    }
  }

  receive(options?: PacketWaitOptions): Promise<Uint8Array<ArrayBuffer> | null> {
    return this.receiveFrom(options).then((received) => received && received.packet);
  }

  /** Receives a packet, with the name of its sender. */
  receiveFrom(options?: PacketWaitOptions): Promise<ReceivedPacket | null> {
    try {
      const signal = checkWait("receive", options);
      if (this.#state === "closed") throw this.#closed("receive", CLOSED);
      if (this.#receives.length === 0 && this.#pace.mayGoOn()) {
        const received = this.#take();
        if (received !== undefined) return Promise.resolve(received);
      }
      return this.#receives.add(undefined, signal, this.#pace.othersFirst());
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Resolves when the socket can be read or written. */
  async #ready(direction: Direction, signal: AbortSignal): Promise<void> {
    await this.#readiness.wait(this.#fd, direction, signal);
    this.#pace.waited();
  }

  /** Sends a packet, unless it would wait. */
  #put(packet: Uint8Array): true | undefined {
    for (;;) {
      const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
      if (this.#libc.send(this.#fd, packet, BigInt(packet.length), flags) >= 0) return true;
      const errno = errnoOf(this.#libc);
      if (errno === EAGAIN) return undefined;
      if (errno === EINTR) continue;
      const cause = failureOf(this.#libc, errno);
      const code = codeOf(cause);
      if (code === "ECONNRESET") this.#reset = cause;
      if (code === "EMSGSIZE") throw this.#tooLarge("send", packet.length, this.#most);
      throw this.#failed("send", cause, packet);
    }
  }

  /** Returns the next packet; `undefined` if it has not come. */
  #take(): ReceivedPacket | null | undefined {
    if (this.#ahead.length === 0) this.#receiveMore();
    const next = this.#ahead.pop();
    if (next instanceof Error) throw next;
    if (next !== undefined || !this.#hasEnded) return next;
    if (this.#reset !== undefined) throw this.#failed("receive", this.#reset);
    return null;
  }

  /** Receives packets that are there: one, or more if they come faster than they are taken. */
  #receiveMore(): void {
    while (!this.#hasEnded) {
      const hasTime = this.type === "seqpacket";
      const count = this.#messages.receive(this.#fd, this.maxPacketBytes, this.#batch, hasTime);
      if (count > 0) return this.#receiveAhead(count);
      const errno = errnoOf(this.#libc);
      if (errno === EAGAIN) return;
      if (errno === EINTR) continue;
      const cause = failureOf(this.#libc, errno);
      if (codeOf(cause) !== "ECONNRESET") throw this.#failed("receive", cause);
      this.#reset = cause;
    }
  }

  #receiveAhead(count: number): void {
    const messages = this.#messages;
    this.#batch = count < this.#batch ? count : Math.min(2 * count, MOST_PACKETS);
    for (let i = 0; i < count; i++) {
      const size = messages.size(i);
      // All further ones are the end as well.
      this.#hasEnded = size === 0 && this.type === "seqpacket" && !messages.hasTimestamp(i);
      if (this.#hasEnded) break;
      this.#ahead.push(
        size > this.maxPacketBytes
          ? this.#tooLarge("receive", size, this.maxPacketBytes)
          : { packet: messages.copy(i), from: this.type === "dgram" ? messages.sender(i) : "" },
      );
    }
    this.#ahead.reverse();
  }

  closeWrite(): Promise<void> {
    if (this.type === "dgram") {
      const state = "a datagram socket has no end. Send a packet that means it, by agreement";
      const error = new Deno.errors.NotSupported(`${this.#start("closeWrite")}: ${state}`);
      return rejected(Object.assign(error, { operation: "closeWrite", path: this.#path }));
    }
    this.#closeWrite ??= handled(this.#endSending());
    return this.#closeWrite;
  }

  async #endSending(): Promise<void> {
    await this.#sends.idle;
    if (this.#state === "closed") throw this.#closed("closeWrite", CLOSED);
    if (this.#libc.shutdown(this.#fd, SHUT_WR) === 0) return;
    const cause = lastFailure(this.#libc);
    // The peer is gone, and so is the direction.
    if (codeOf(cause) !== "ENOTCONN") throw this.#failed("closeWrite", cause);
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#readiness.forget(this.#fd, this.#closed("receive", CLOSED));
    this.#libc.close(this.#fd);
    this.#receives.fail(() => this.#closed("receive", CLOSED));
    this.#sends.fail((packet) => this.#closed("send", CLOSED, packet));
  }

  ref(): void {
    if (this.#state === "open") this.#readiness.ref(this.#fd);
  }

  unref(): void {
    if (this.#state === "open") this.#readiness.unref(this.#fd);
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
    for (let packet; (packet = await this.receive()) !== null;) yield packet;
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "open") await settlesWithin(this.#sends.idle, FLUSH_MS);
    this.close();
  }

  get #path(): string | null {
    return this.remoteAddr.path ?? this.localAddr.path;
  }

  /** Returns the beginning of a message: `Cannot send a packet to "/run/app.sock"`. */
  #start(operation: Operation): string {
    const [verb, joint] = VERBS[operation];
    const path = this.#path;
    return `Cannot ${verb}${path === null ? "" : ` ${joint} ${quoteAddress(path)}`}`;
  }

  #failed(operation: Operation, cause: unknown, unsent?: Uint8Array): Error {
    const fields = { operation, path: this.#path, ...(unsent && { unsent }) };
    return systemError(this.#start(operation), cause, fields, stateOf(cause));
  }

  #closed(operation: Operation, state: string, unsent?: Uint8Array): ConnectionClosed {
    const message = `${this.#start(operation)}: ${state}`;
    return new ConnectionClosed(message, { operation, path: this.#path, unsent });
  }

  #tooLarge(operation: "send" | "receive", size: number, limit: number): MessageTooLarge {
    const state = `it has ${size} bytes, and the limit is ${limit}. Raise maxPacketBytes`;
    const fields = { operation, path: this.#path, size, limit };
    return new MessageTooLarge(`${this.#start(operation)}: ${state}`, fields);
  }
}

/** Throws unless the value is a packet. */
export function checkPacket(packet: unknown): void {
  if (packet instanceof Uint8Array) return;
  const remedy = typeof packet === "string" ? ". Use new TextEncoder().encode(…)" : "";
  throw new TypeError(`Invalid packet: expected a Uint8Array, got ${show(packet)}${remedy}`);
}

/** Returns the signal of a call, after checking its options. */
export function checkWait(
  call: string,
  options: PacketWaitOptions | undefined,
): AbortSignal | undefined {
  if (options === undefined) return undefined;
  checkOptions(call, options, WAIT_CHECKS);
  options.signal?.throwIfAborted();
  return options.signal;
}
