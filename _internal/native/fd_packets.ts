/**
 * Packets over a descriptor, by system calls that do not wait.
 *
 * recvmmsg(2) returns an empty packet and the end of a seqpacket socket alike. Each packet is
 * therefore received with the time at which it came (`SO_TIMESTAMP`), which the end does not have.
 */

import type { PacketType } from "../../native/packet_socket.ts";
import { requireSize } from "../base/lasting_buffer.ts";
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
import type { Arrival, PacketTransport } from "./packet_transport.ts";

/** What a packet takes of the send buffer besides its bytes (`unix_dgram_sendmsg` of Linux). */
const SEND_OVERHEAD = 32;

/** What all sockets of this thread receive into. */
let shared: PacketMessages | undefined;

/** Returns the largest packet that a socket can send. */
export function sendLimitOf(libc: Libc, fd: number): number {
  return numberOption(libc, fd, SO_SNDBUF) - SEND_OVERHEAD;
}

/** A transport over a descriptor, which it owns. */
export class FdPackets implements PacketTransport {
  readonly maxPacketBytes: number;
  readonly #libc: Libc;
  readonly #fd: number;
  readonly #type: PacketType;
  readonly #messages: PacketMessages;
  readonly #readiness: Readiness;
  /** The number of packets to receive at once. */
  #batch = 1;

  /**
   * @param libc The functions.
   * @param fd A descriptor of a socket of the type. It need not be non-blocking.
   * @param type The type of the socket.
   * @param maxPacketBytes The largest packet; by default what the send buffer holds.
   */
  constructor(libc: Libc, fd: number, type: PacketType, maxPacketBytes: number | undefined) {
    this.#libc = libc;
    this.#fd = fd;
    this.#type = type;
    this.#messages = shared ??= new PacketMessages(libc);
    this.#readiness = readiness(libc);
    this.maxPacketBytes = maxPacketBytes ?? this.sendLimit;
    // The kernel takes twice the number.
    const half = Math.ceil((this.maxPacketBytes + SEND_OVERHEAD) / 2);
    if (this.sendLimit < this.maxPacketBytes) setNumberOption(libc, fd, SO_SNDBUF, half);
    if (type === "seqpacket") setNumberOption(libc, fd, SO_TIMESTAMP, 1);
  }

  get sendLimit(): number {
    return sendLimitOf(this.#libc, this.#fd);
  }

  send(packet: Uint8Array, size: number): true | undefined {
    requireSize(packet, size);
    const flags = MSG_DONTWAIT | MSG_NOSIGNAL;
    const bytes = BigInt(size);
    while (this.#libc.send(this.#fd, packet, bytes, flags) < 0) {
      if (this.#mustWait()) return undefined;
    }
    return true;
  }

  /** Receives one packet, or more if they come faster than they are taken. */
  receive(): readonly Arrival[] | null | undefined {
    const hasTime = this.#type === "seqpacket";
    for (;;) {
      const count = this.#messages.receive(this.#fd, this.maxPacketBytes, this.#batch, hasTime);
      if (count > 0) return this.#arrivals(count);
      if (this.#mustWait()) return undefined;
    }
  }

  /**
   * Reports whether the failed call would wait, or throws. After an interruption it is repeated.
   */
  #mustWait(): boolean {
    const errno = errnoOf(this.#libc);
    if (errno !== EAGAIN && errno !== EINTR) throw failureOf(this.#libc, errno);
    return errno === EAGAIN;
  }

  /** Returns the packets before the end; `null` if there are none. */
  #arrivals(count: number): Arrival[] | null {
    const messages = this.#messages;
    this.#batch = count < this.#batch ? count : Math.min(2 * count, MOST_PACKETS);
    const arrivals: Arrival[] = [];
    for (let i = 0; i < count; i++) {
      const size = messages.size(i);
      // All further ones are the end as well, which the next call meets again.
      if (size === 0 && this.#type === "seqpacket" && !messages.hasTimestamp(i)) break;
      const packet = size > this.maxPacketBytes ? undefined : messages.copy(i);
      arrivals.push({ size, packet, from: this.#type === "dgram" ? messages.sender(i) : "" });
    }
    return arrivals.length === 0 ? null : arrivals;
  }

  ready(direction: Direction, signal: AbortSignal): Promise<void> {
    return this.#readiness.wait(this.#fd, direction, signal);
  }

  closeWrite(): void {
    if (this.#libc.shutdown(this.#fd, SHUT_WR) < 0) throw lastFailure(this.#libc);
  }

  close(): void {
    this.#readiness.forget(this.#fd, new Deno.errors.Interrupted("operation canceled"));
    this.#libc.close(this.#fd);
  }

  ref(): void {
    this.#readiness.ref(this.#fd);
  }

  unref(): void {
    this.#readiness.unref(this.#fd);
  }
}
