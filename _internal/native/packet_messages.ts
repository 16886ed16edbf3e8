/**
 * The memory into which packets are received: one for all sockets of a thread, because a call that
 * does not wait is over before anything else runs. recvmmsg(2) takes several packets at once.
 */

import { MSG_DONTWAIT, MSG_TRUNC } from "../libc/constants.ts";
import { IOVEC, MMSGHDR, MSGHDR, SOCKADDR_UN } from "../libc/layouts.ts";
import type { Libc } from "../libc/library.ts";
import { addressOf, fixedMemory } from "../libc/memory.ts";
import { decodeName } from "../libc/socket_name.ts";

/** The most packets of one call. */
export const MOST_PACKETS = 64;

/** The memory for one call. Only what packets fill is really used. */
const MEMORY_BYTES = 16 * 1024 * 1024;

/**
 * `CMSG_SPACE(sizeof(struct timeval))`. Descriptors do not fit behind the time, so the
 * kernel closes them. Without a time, up to four would fit into its place.
 */
const TIMESTAMP_BYTES = 32;

/** The fields of a header, as indexes of 32-bit numbers. */
const HEADER = MMSGHDR.bytes / 4;
const NAME_BYTES = MSGHDR.msg_namelen / 4;
const CONTROL_BYTES = MSGHDR.msg_controllen / 4;
const PACKET_BYTES = MMSGHDR.msg_len / 4;

/** Packets, where recvmmsg(2) puts them. */
export class PacketMessages {
  readonly #libc: Libc;
  readonly #names = fixedMemory(MOST_PACKETS * SOCKADDR_UN.bytes);
  readonly #controls = fixedMemory(MOST_PACKETS * TIMESTAMP_BYTES);
  readonly #vectors = new BigUint64Array(new ArrayBuffer(MOST_PACKETS * IOVEC.bytes));
  readonly #headers = new Uint32Array(new ArrayBuffer(MOST_PACKETS * MMSGHDR.bytes));
  #bytes = fixedMemory(0);
  #limit = 0;
  #hasTime = false;
  /** The number of headers to make ready: those that the last call wrote to, or all. */
  #written = MOST_PACKETS;

  constructor(libc: Libc) {
    this.#libc = libc;
    const names = addressOf(libc, this.#names);
    const controls = addressOf(libc, this.#controls);
    const vectors = addressOf(libc, new Uint8Array(this.#vectors.buffer));
    const view = new DataView(this.#headers.buffer);
    for (let i = 0; i < MOST_PACKETS; i++) {
      const at = i * MMSGHDR.bytes;
      view.setBigUint64(at + MSGHDR.msg_name, names + BigInt(i * SOCKADDR_UN.bytes), true);
      view.setBigUint64(at + MSGHDR.msg_iov, vectors + BigInt(i * IOVEC.bytes), true);
      view.setBigUint64(at + MSGHDR.msg_iovlen, 1n, true);
      view.setBigUint64(at + MSGHDR.msg_control, controls + BigInt(i * TIMESTAMP_BYTES), true);
    }
  }

  /**
   * Receives packets. Returns their number, which is negative after a failure.
   *
   * @param limit The size of the largest packet. Of a larger one the rest is dropped.
   * @param most The most packets to receive.
   * @param hasTime Whether the socket notes the time. Only then is there room for control data, and
   * the time fills it.
   */
  receive(fd: number, limit: number, most: number, hasTime: boolean): number {
    if (limit !== this.#limit) this.#divide(limit);
    if (hasTime !== this.#hasTime) this.#written = MOST_PACKETS;
    this.#hasTime = hasTime;
    for (let i = 0; i < this.#written; i++) {
      const header = i * HEADER;
      this.#headers[header + NAME_BYTES] = SOCKADDR_UN.bytes;
      this.#headers[header + CONTROL_BYTES] = hasTime ? TIMESTAMP_BYTES : 0;
    }
    const places = Math.min(most, Math.floor(this.#bytes.length / limit));
    const flags = MSG_DONTWAIT | MSG_TRUNC;
    const { recvmmsg } = this.#libc;
    const count = recvmmsg === null
      ? this.#receiveOne(fd)
      : recvmmsg(fd, this.#headers, places, flags, null);
    this.#written = Math.max(1, count);
    return count;
  }

  /** Receives a packet on macOS, which does not report the size of one that is too large. */
  #receiveOne(fd: number): number {
    const length = new Uint32Array([SOCKADDR_UN.bytes]);
    const most = BigInt(this.#limit + 1);
    const size = this.#libc.recvfrom(fd, this.#bytes, most, MSG_DONTWAIT, this.#names, length);
    this.#headers[PACKET_BYTES] = size;
    this.#headers[NAME_BYTES] = length[0]!;
    return size < 0 ? size : 1;
  }

  /** Divides the memory into places for packets of one size. */
  #divide(limit: number): void {
    this.#limit = limit;
    if (this.#bytes.length <= limit) this.#bytes = fixedMemory(Math.max(limit + 1, MEMORY_BYTES));
    const start = addressOf(this.#libc, this.#bytes);
    for (let i = 0; i < MOST_PACKETS; i++) {
      this.#vectors[2 * i] = start + BigInt(i * limit);
      this.#vectors[2 * i + 1] = BigInt(limit);
    }
  }

  /** Returns the size of a packet, which may exceed the limit. */
  size(i: number): number {
    return this.#headers[i * HEADER + PACKET_BYTES]!;
  }

  /** Reports whether a packet came with a time. The end of a socket does not. */
  hasTimestamp(i: number): boolean {
    return this.#headers[i * HEADER + CONTROL_BYTES]! > 0;
  }

  /** Returns a copy of a packet that is not larger than the limit. */
  copy(i: number): Uint8Array<ArrayBuffer> {
    const start = i * this.#limit;
    // Takes half the time of `slice`, which sets all bytes to zero first.
    return new Uint8Array(this.#bytes.subarray(start, start + this.size(i)));
  }

  /** Returns the name of the socket that sent a packet; `""` without one that is UTF-8. */
  sender(i: number): string {
    const bytes = this.#headers[i * HEADER + NAME_BYTES]!;
    if (bytes === 0) return "";
    const start = i * SOCKADDR_UN.bytes;
    const name = this.#names.subarray(start, start + SOCKADDR_UN.bytes);
    return decodeName(name, bytes) ?? "";
  }
}
