/**
 * The memory into which packets are received: one for all sockets of a thread, because a call that
 * does not wait is over before anything else runs.
 *
 * recvmmsg(2) takes several packets at once. `struct mmsghdr` and `struct iovec` have the same
 * bytes in glibc and musl on 64-bit Linux (`include/linux/socket.h`):
 *
 *     mmsghdr:   0 name*   8 name bytes   16 iovec*   24 iovecs   32 control*   40 control bytes
 *               48 flags  56 packet bytes
 *     iovec:     0 base*   8 bytes
 */

import { MSG_DONTWAIT, MSG_TRUNC, SUN_PATH_BYTES } from "../libc/constants.ts";
import type { Libc } from "../libc/library.ts";
import { addressOf, fixedMemory } from "../libc/memory.ts";
import { decodeName } from "../libc/socket_name.ts";

/** The most packets of one call. */
export const MOST_PACKETS = 64;

/** The memory for one call. Only what packets fill is really used. */
const MEMORY_BYTES = 16 * 1024 * 1024;

const HEADER_BYTES = 64;
const VECTOR_BYTES = 16;

/** Fields, in 64-bit numbers, and in 32-bit numbers. */
const NAME = 0 / 8;
const VECTOR = 16 / 8;
const VECTORS = 24 / 8;
const CONTROL = 32 / 8;
const NAME_BYTES = 8 / 4;
const CONTROL_BYTES = 40 / 4;
const PACKET_BYTES = 56 / 4;

/**
 * `CMSG_SPACE(sizeof(struct timeval))`. There is no room for descriptors, so the kernel closes
 * those that come.
 */
const TIMESTAMP_BYTES = 32;

/** `struct sockaddr_un`. */
const ADDRESS_BYTES = 2 + SUN_PATH_BYTES;

/** Packets, where recvmmsg(2) puts them. */
export class PacketMessages {
  readonly #libc: Libc;
  readonly #names = fixedMemory(MOST_PACKETS * ADDRESS_BYTES);
  readonly #controls = fixedMemory(MOST_PACKETS * TIMESTAMP_BYTES);
  readonly #vectors = new BigUint64Array(new ArrayBuffer(MOST_PACKETS * VECTOR_BYTES));
  readonly #headers = new BigUint64Array(new ArrayBuffer(MOST_PACKETS * HEADER_BYTES));
  readonly #fields = new Uint32Array(this.#headers.buffer);
  #bytes = fixedMemory(0);
  #limit = 0;
  /** The number of headers that the last call wrote to. */
  #written = MOST_PACKETS;

  constructor(libc: Libc) {
    this.#libc = libc;
    const names = addressOf(libc, this.#names);
    const controls = addressOf(libc, this.#controls);
    const vectors = addressOf(libc, new Uint8Array(this.#vectors.buffer));
    for (let i = 0; i < MOST_PACKETS; i++) {
      const header = i * HEADER_BYTES / 8;
      this.#headers[header + NAME] = names + BigInt(i * ADDRESS_BYTES);
      this.#headers[header + VECTOR] = vectors + BigInt(i * VECTOR_BYTES);
      this.#headers[header + VECTORS] = 1n;
      this.#headers[header + CONTROL] = controls + BigInt(i * TIMESTAMP_BYTES);
    }
  }

  /**
   * Receives packets. Returns their number, which is negative after a failure.
   *
   * @param limit The size of the largest packet. Of a larger one the rest is dropped.
   * @param most The most packets to receive.
   */
  receive(fd: number, limit: number, most: number): number {
    if (limit !== this.#limit) this.#divide(limit);
    for (let i = 0; i < this.#written; i++) {
      const header = i * HEADER_BYTES / 4;
      this.#fields[header + NAME_BYTES] = ADDRESS_BYTES;
      this.#fields[header + CONTROL_BYTES] = TIMESTAMP_BYTES;
    }
    const places = Math.min(most, Math.floor(this.#bytes.length / limit));
    const flags = MSG_DONTWAIT | MSG_TRUNC;
    const count = this.#libc.recvmmsg!(fd, this.#fields, places, flags, null);
    this.#written = Math.max(1, count);
    return count;
  }

  /** Divides the memory into places for packets of one size. */
  #divide(limit: number): void {
    this.#limit = limit;
    if (this.#bytes.length < limit) this.#bytes = fixedMemory(Math.max(limit, MEMORY_BYTES));
    const start = addressOf(this.#libc, this.#bytes);
    for (let i = 0; i < MOST_PACKETS; i++) {
      this.#vectors[2 * i] = start + BigInt(i * limit);
      this.#vectors[2 * i + 1] = BigInt(limit);
    }
  }

  /** Returns the size of a packet, which may exceed the limit. */
  size(i: number): number {
    return this.#fields[i * HEADER_BYTES / 4 + PACKET_BYTES]!;
  }

  /** Reports whether a packet came with a time. The end of a socket does not. */
  hasTimestamp(i: number): boolean {
    return this.#fields[i * HEADER_BYTES / 4 + CONTROL_BYTES]! > 0;
  }

  /** Returns a copy of a packet that is not larger than the limit. */
  copy(i: number): Uint8Array<ArrayBuffer> {
    const start = i * this.#limit;
    return this.#bytes.slice(start, start + this.size(i));
  }

  /** Returns the name of the socket that sent a packet; `""` without one. */
  sender(i: number): string {
    const bytes = this.#fields[i * HEADER_BYTES / 4 + NAME_BYTES]!;
    if (bytes === 0) return "";
    return decodeName(this.#names.subarray(i * ADDRESS_BYTES), bytes) ?? "";
  }
}
