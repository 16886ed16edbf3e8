/**
 * The sockets of this process that no connection of this package is known to have.
 *
 * - **The end of the table**: no call returns the highest open descriptor. But `select` leaves the
 *   bits of descriptors beyond the table untouched, and the table never shrinks. So one call shows
 *   that every descriptor is below a number.
 * - **Which are sockets**: one `poll` asks all descriptors for `POLLWRBAND`. A Unix socket that can
 *   be written has it, as every new one can. Files, pipes and TCP sockets do not.
 * - **Which socket it is**: each socket has a number that no other one gets (`SO_COOKIE`; on
 *   macOS, the inode). A descriptor is used again, the number is not.
 *
 * Linux: `fs/select.c`, `unix_poll` in `net/unix/af_unix.c`. macOS: `bsd/kern/sys_generic.c`,
 * `uipc_sense` in `bsd/kern/uipc_usrreq.c`; it was not run there.
 */

import { EINTR, IS_MAC, POLLNVAL, POLLWRBAND, SO_ACCEPTCONN } from "../libc/constants.ts";
import { errnoOf } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { fixedMemory } from "../libc/memory.ts";
import { ownName } from "../libc/socket_name.ts";
import { numberOption, socketCookie } from "../libc/socket_option.ts";

/** A descriptor, and the number of its socket. */
export interface OpenSocket {
  readonly fd: number;
  readonly cookie: bigint;
}

/** The smallest table of the kernel: `NR_OPEN_DEFAULT` in `include/linux/fdtable.h`. */
const FIRST_SIZE = 64;
/** A larger table would take milliseconds for each scan. It is the kernel's default `nr_open`. */
const MAX_SIZE = 1024 * 1024;

/** Numbers of `struct pollfd` as 32-bit words: the descriptor, then `events` and `revents`. */
const POLL_WORDS = 2;

/** The descriptors of this process. */
export class OpenSockets {
  readonly #libc: Libc;
  /** Every open descriptor is below. */
  #size = 0;
  /** The bit of the descriptor `#size`, and the one after it, for `select`. */
  #bits: Uint8Array<ArrayBuffer> = fixedMemory(0);
  readonly #noTime: Uint8Array<ArrayBuffer> = fixedMemory(16);
  /** The descriptors to look at, as an array of `struct pollfd` in no order. */
  #polled: Int32Array<ArrayBuffer> = new Int32Array(0);
  #count = 0;
  /** Where each descriptor is in `#polled`; -1 for one that is skipped. */
  readonly #places: number[] = [];
  /** How many descriptors one `poll` takes: at most `RLIMIT_NOFILE`. */
  #atOnce = MAX_SIZE;

  constructor(libc: Libc) {
    this.#libc = libc;
  }

  /** Looks no more at a descriptor, until {@linkcode OpenSockets.include}. */
  skip(fd: number): void {
    const place = this.#places[fd] ?? -1;
    if (place < 0) return;
    this.#count--;
    const last = this.#polled[POLL_WORDS * this.#count]!;
    this.#polled[POLL_WORDS * place] = last;
    this.#places[last] = place;
    this.#places[fd] = -1;
  }

  /** Looks at a descriptor again. */
  include(fd: number): void {
    if (this.#places[fd] !== -1) return;
    this.#places[fd] = this.#count;
    this.#polled[POLL_WORDS * this.#count] = fd;
    this.#polled[POLL_WORDS * this.#count + 1] = POLLWRBAND;
    this.#count++;
  }

  /**
   * Calls back with each open descriptor that is not skipped.
   *
   * @returns Whether all of them were found: `false` if this system does not say where they end.
   */
  each(found: (fd: number, isWritableSocket: boolean) => void): boolean {
    if (!this.#findEnd()) return false;
    for (let from = 0; from < this.#count;) {
      const count = Math.min(this.#count - from, this.#atOnce);
      const part = from === 0 && count === this.#count
        ? this.#polled
        : this.#polled.subarray(POLL_WORDS * from, POLL_WORDS * (from + count));
      if (this.#libc.poll(part, BigInt(count), 0) < 0) {
        if (errnoOf(this.#libc) === EINTR) continue;
        // EINVAL: more than the limit.
        this.#atOnce = count >> 1;
        if (this.#atOnce === 0) return false;
        continue;
      }
      for (let i = 0; i < count; i++) {
        const events = part[POLL_WORDS * i + 1]! >>> 16;
        if ((events & POLLNVAL) === 0) {
          found(part[POLL_WORDS * i]!, (events & POLLWRBAND) !== 0);
        }
      }
      from += count;
    }
    return true;
  }

  /** Ensures that every descriptor is below `#size`. Reports whether it could. */
  #findEnd(): boolean {
    while (this.#mayHold(this.#size)) {
      if (this.#size === MAX_SIZE) return false;
      const before = this.#size;
      this.#size = Math.max(2 * before, FIRST_SIZE);
      this.#bits = fixedMemory(this.#size / 8 + 8);
      const polled = new Int32Array(new ArrayBuffer(4 * POLL_WORDS * this.#size));
      polled.set(this.#polled);
      this.#polled = polled;
      for (let fd = before; fd < this.#size; fd++) {
        this.#places[fd] = -1;
        this.include(fd);
      }
    }
    return true;
  }

  /**
   * Reports whether the table has a descriptor. The call fails if it is closed. Otherwise the
   * kernel overwrites the word with its bit, and the next bit, unless they are beyond the table.
   */
  #mayHold(fd: number): boolean {
    if (fd === 0) return true;
    const mark = fd / 8;
    this.#bits[mark] = 0b11;
    return this.#libc.select(fd + 1, this.#bits, null, null, this.#noTime) < 0 ||
      this.#bits[mark] !== 0b11;
  }
}

/** Returns the sockets of this process that listen, and were bound to one of the names. */
export function listenersAt(libc: Libc, names: readonly string[]): OpenSocket[] {
  const listeners: OpenSocket[] = [];
  new OpenSockets(libc).each((fd) => {
    if (numberOption(libc, fd, SO_ACCEPTCONN) !== 1) return;
    if (!names.includes(ownName(libc, fd) ?? "")) return;
    const cookie = numberOfSocket(libc, fd);
    if (cookie !== undefined) listeners.push({ fd, cookie });
  });
  return listeners;
}

const status = fixedMemory(256);
const inode = new BigUint64Array(status.buffer, 8, 1);

/** Returns the number of a socket; `undefined` if the descriptor is not open, or not a socket. */
export function numberOfSocket(libc: Libc, fd: number): bigint | undefined {
  if (!IS_MAC) return socketCookie(libc, fd);
  return libc.fstat!(fd, status) === 0 ? inode[0]! : undefined;
}
