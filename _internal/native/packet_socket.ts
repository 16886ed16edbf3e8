/**
 * The one implementation of `PacketSocket`.
 *
 * - A packet is sent and received at once if it need not wait. Otherwise the operation waits until
 *   the transport is ready.
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
import { rejectedSeen, seen, seenFrom } from "../base/caller_stack.ts";
import { checkOptions, type Checks, checkSignal, show } from "../base/check.ts";
import { codeOf, stateOf, systemError } from "../base/failure.ts";
import { bytesFrom, checkAttached } from "../base/lasting_buffer.ts";
import { rejected } from "../base/rejection.ts";
import { quoteAddress } from "../base/shown_address.ts";
import { settlesWithin } from "../base/silence.ts";
import type { Libc } from "../libc/library.ts";
import type { Direction } from "../libc/readiness.ts";
import { FdPackets } from "./fd_packets.ts";
import { PacketPace } from "./packet_pace.ts";
import type { Arrival, PacketTransport } from "./packet_transport.ts";
import { PacketWaits } from "./packet_waits.ts";

/** How long an async disposal waits for queued packets. */
export const FLUSH_MS = 5000;

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

/** A packet to send, and how many bytes it had when it was passed. */
export interface WaitingPacket {
  readonly packet: Uint8Array;
  readonly size: number;
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

/** A socket over a transport, which it owns. */
export class TransportPacketSocket implements PacketSocket {
  readonly type: PacketType;
  readonly localAddr: UnixAddr;
  readonly remoteAddr: UnixAddr;
  readonly maxPacketBytes: number;
  readonly #transport: PacketTransport;

  #state: "open" | "closed" = "open";
  /** The packets that were received, the next one last. */
  readonly #ahead: Arrival[] = [];
  #hasEnded = false;
  /** That the peer has closed with packets of ours unread. */
  #reset: unknown;
  #closeWrite: Promise<void> | undefined;
  readonly #pace = new PacketPace();

  readonly #receives: PacketWaits<void, ReceivedPacket | null>;
  readonly #sends: PacketWaits<WaitingPacket, true>;

  constructor(transport: PacketTransport, options: PacketSocketOptions) {
    this.#transport = transport;
    this.type = options.type;
    this.localAddr = options.localAddr;
    this.remoteAddr = options.remoteAddr;
    this.maxPacketBytes = transport.maxPacketBytes;
    this.#receives = new PacketWaits({
      attempt: () => this.#take(),
      ready: (signal) => this.#ready("read", signal),
    });
    this.#sends = new PacketWaits({
      attempt: ({ packet, size }) => this.#put(packet, size),
      ready: (signal) => this.#ready("write", signal),
    });
  }

  send(packet: Uint8Array, options?: PacketWaitOptions): Promise<void> {
    try {
      checkPacket(packet);
      const signal = checkWait("send", options);
      const { length: size } = packet;
      if (size > this.maxPacketBytes) throw this.#tooLarge("send", size, this.maxPacketBytes);
      if (this.#state === "closed") throw this.#closed("send", CLOSED, packet);
      if (this.#closeWrite !== undefined) throw this.#closed("send", ENDED, packet);
      const isNext = this.#sends.length === 0;
      const others = isNext ? this.#pace.next() : undefined;
      if (isNext && others === undefined && this.#put(packet, size)) return Promise.resolve();
      return seen(this.#sends.add({ packet, size }, signal, others).then(() => {}), true);
    } catch (error) {
      return rejected(seenFrom(this.send, error));
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
      const isNext = this.#receives.length === 0;
      const others = isNext ? this.#pace.next() : undefined;
      if (isNext && others === undefined) {
        const received = this.#take();
        if (received !== undefined) return Promise.resolve(received);
      }
      return this.#receives.add(undefined, signal, others);
    } catch (error) {
      return seen(Promise.reject(error));
    }
  }

  /** Resolves when the socket can be read or written. */
  async #ready(direction: Direction, signal: AbortSignal): Promise<void> {
    await this.#transport.ready(direction, signal);
    this.#pace.waited();
  }

  /** Sends a packet, unless it would wait. */
  #put(packet: Uint8Array, size: number): true | undefined {
    try {
      return this.#transport.send(packet, size);
    } catch (cause) {
      const code = codeOf(cause);
      if (code === "ECONNRESET") this.#reset = cause;
      const { sendLimit } = this.#transport;
      if (code === "EMSGSIZE") throw this.#tooLarge("send", size, sendLimit);
      throw this.#failed("send", cause, bytesFrom(packet, 0, size));
    }
  }

  /** Returns the next packet; `undefined` if it has not come. */
  #take(): ReceivedPacket | null | undefined {
    if (this.#ahead.length === 0 && !this.#hasEnded) this.#receiveMore();
    const next = this.#ahead.pop();
    if (next !== undefined) {
      const { size, packet, from } = next;
      if (packet === undefined) throw this.#tooLarge("receive", size, this.maxPacketBytes);
      return { packet, from };
    }
    if (!this.#hasEnded) return undefined;
    if (this.#reset !== undefined) throw this.#failed("receive", this.#reset);
    return null;
  }

  #receiveMore(): void {
    for (;;) {
      try {
        const arrivals = this.#transport.receive();
        if (arrivals === null) this.#hasEnded = true;
        else if (arrivals !== undefined) this.#ahead.push(...arrivals.toReversed());
        return;
      } catch (cause) {
        if (codeOf(cause) !== "ECONNRESET") throw this.#failed("receive", cause);
        this.#reset = cause;
      }
    }
  }

  closeWrite(): Promise<void> {
    if (this.type === "dgram") {
      const state = "a datagram socket has no end. Send a packet that means it, by agreement";
      const error = new Deno.errors.NotSupported(`${this.#start("closeWrite")}: ${state}`);
      return rejectedSeen(Object.assign(error, { operation: "closeWrite", path: this.#path }));
    }
    return this.#closeWrite ??= seen(this.#endSending(), true);
  }

  async #endSending(): Promise<void> {
    await this.#sends.idle;
    if (this.#state === "closed") throw this.#closed("closeWrite", CLOSED);
    try {
      this.#transport.closeWrite();
    } catch (cause) {
      // The peer is gone, and so is the direction.
      if (codeOf(cause) !== "ENOTCONN") throw this.#failed("closeWrite", cause);
    }
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#transport.close();
    this.#receives.fail(() => this.#closed("receive", CLOSED));
    this.#sends.fail(({ packet, size }) =>
      this.#closed("send", CLOSED, bytesFrom(packet, 0, size))
    );
  }

  ref(): void {
    if (this.#state === "open") this.#transport.ref();
  }

  unref(): void {
    if (this.#state === "open") this.#transport.unref();
  }

  async *[Symbol.asyncIterator](): AsyncIterableIterator<Uint8Array<ArrayBuffer>> {
    try {
      for (let packet; (packet = await this.receive()) !== null;) yield packet;
    } catch (error) {
      throw seenFrom(this[Symbol.asyncIterator], error);
    }
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
    const state = tooLargeState(size, limit, this.maxPacketBytes);
    const fields = { operation, path: this.#path, size, limit };
    return new MessageTooLarge(`${this.#start(operation)}: ${state}`, fields);
  }
}

/**
 * Returns the words for a packet that is too large.
 *
 * @param limit What it exceeds: the option, or a lower limit of the system.
 */
export function tooLargeState(size: number, limit: number, maxPacketBytes: number): string {
  const remedy = limit < maxPacketBytes
    ? "The system allows no larger ones: raise net.core.wmem_max"
    : "Raise maxPacketBytes";
  return `it has ${size} bytes, and the limit is ${limit}. ${remedy}`;
}

/** A socket over a descriptor, which it owns. */
export class FdPacketSocket extends TransportPacketSocket {
  #fd: number | undefined;

  /**
   * @param libc The functions.
   * @param fd A descriptor of a socket of the type. It need not be non-blocking.
   * @param options The type, the addresses and the limit.
   */
  constructor(libc: Libc, fd: number, options: PacketSocketOptions) {
    super(new FdPackets(libc, fd, options.type, options.maxPacketBytes), options);
    this.#fd = fd;
  }

  /** The descriptor; `undefined` once it has closed. */
  get fd(): number | undefined {
    return this.#fd;
  }

  override close(): void {
    this.#fd = undefined;
    super.close();
  }
}

/** Throws unless the value is a packet. */
export function checkPacket(packet: unknown): void {
  if (packet instanceof Uint8Array) return checkAttached("packet", packet);
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
