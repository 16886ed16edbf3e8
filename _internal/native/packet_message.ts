/**
 * The memory into which packets are received: one for all sockets, because a call of recvmsg(2)
 * that does not wait is over before anything else runs.
 *
 * `struct msghdr` and `struct iovec` of recv(2) on 64-bit Linux, where glibc and musl have the same
 * bytes (`include/linux/socket.h`):
 *
 *     0 name*   8 name bytes   16 iovec*   24 iovecs   32 control*   40 control bytes   48 flags
 *     iovec:    0 base*        8 bytes
 */

import { MSG_DONTWAIT, MSG_TRUNC, SUN_PATH_BYTES } from "../libc/constants.ts";
import type { Libc } from "../libc/library.ts";
import { addressOf, fixedMemory } from "../libc/memory.ts";
import { decodeName } from "../libc/socket_name.ts";

/** The index of a field among 32-bit numbers. */
const NAME_BYTES = 8 / 4;
const CONTROL_BYTES = 40 / 4;
const PACKET_BYTES = 8 / 4;

/**
 * `CMSG_SPACE(sizeof(struct timeval))`. There is no room for descriptors, so the kernel closes
 * those that come.
 */
const TIMESTAMP_BYTES = 32;

/** `struct sockaddr_un`. */
const ADDRESS_BYTES = 2 + SUN_PATH_BYTES;

/** A packet, where recvmsg(2) puts it. */
export class PacketMessage {
  readonly #libc: Libc;
  readonly #name = fixedMemory(ADDRESS_BYTES);
  readonly #control = fixedMemory(TIMESTAMP_BYTES);
  readonly #vector = new BigUint64Array(new ArrayBuffer(16));
  readonly #vectorNumbers = new Uint32Array(this.#vector.buffer);
  readonly #header = new BigUint64Array(new ArrayBuffer(56));
  readonly #headerNumbers = new Uint32Array(this.#header.buffer);
  #bytes = fixedMemory(0);

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#header[0] = addressOf(libc, this.#name);
    this.#header[2] = addressOf(libc, new Uint8Array(this.#vector.buffer));
    this.#header[3] = 1n;
    this.#header[4] = addressOf(libc, this.#control);
  }

  /** Makes room for packets of this size. */
  reserve(bytes: number): void {
    if (this.#bytes.length >= bytes) return;
    this.#bytes = fixedMemory(bytes);
    this.#vector[0] = addressOf(this.#libc, this.#bytes);
  }

  /**
   * Receives a packet, if there is one. Returns its size, which may exceed the limit; 0 for an
   * empty packet and at the end, and a negative number after a failure.
   */
  receive(fd: number, limit: number): number {
    this.#headerNumbers[NAME_BYTES] = ADDRESS_BYTES;
    this.#headerNumbers[CONTROL_BYTES] = TIMESTAMP_BYTES;
    this.#vectorNumbers[PACKET_BYTES] = limit;
    return this.#libc.recvmsg(fd, this.#headerNumbers, MSG_DONTWAIT | MSG_TRUNC);
  }

  /** Whether a packet came with a time, which the end has not. */
  get hasTimestamp(): boolean {
    return this.#headerNumbers[CONTROL_BYTES]! > 0;
  }

  /** Returns a copy of the packet. */
  copy(bytes: number): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, bytes);
  }

  /** The name of the sender; `""` without one. */
  get sender(): string {
    return decodeName(this.#name, this.#headerNumbers[NAME_BYTES]!) ?? "";
  }
}
