/** A set of descriptors that Linux watches: epoll(7). */

import {
  EINTR,
  ENOENT,
  EPERM,
  EPOLL_CLOEXEC,
  EPOLL_CTL_ADD,
  EPOLL_CTL_DEL,
  EPOLL_CTL_MOD,
  EPOLLONESHOT,
} from "./constants.ts";
import type { EventSet } from "./event_set.ts";
import { errnoOf, failureOf, lastFailure } from "./failure.ts";
import { EPOLL_EVENT } from "./layouts.ts";
import type { Libc } from "./library.ts";
import { fixedMemory } from "./memory.ts";

/** How many events are taken at once. The others are taken next. */
const MAX_EVENTS = 64;

/** A set of epoll. */
export class EpollSet implements EventSet {
  readonly fd: number;
  readonly #libc: Libc;
  readonly #event: Uint8Array<ArrayBuffer> = fixedMemory(EPOLL_EVENT.bytes);
  readonly #events: Uint8Array<ArrayBuffer> = fixedMemory(MAX_EVENTS * EPOLL_EVENT.bytes);
  readonly #eventView = new DataView(this.#event.buffer);
  readonly #eventsView = new DataView(this.#events.buffer);

  constructor(libc: Libc) {
    this.#libc = libc;
    this.fd = libc.epoll_create1!(EPOLL_CLOEXEC);
    if (this.fd < 0) throw lastFailure(libc);
  }

  arm(fd: number, events: number): boolean {
    this.#eventView.setUint32(EPOLL_EVENT.events, events | EPOLLONESHOT, true);
    this.#eventView.setInt32(EPOLL_EVENT.data, fd, true);
    if (this.#control(EPOLL_CTL_MOD, fd)) return true;
    // The set forgets a descriptor when it is closed, and does not know the next one of its number.
    let errno = errnoOf(this.#libc);
    if (errno === ENOENT) {
      if (this.#control(EPOLL_CTL_ADD, fd)) return true;
      errno = errnoOf(this.#libc);
    }
    if (errno === EPERM) return false;
    throw failureOf(this.#libc, errno);
  }

  remove(fd: number): void {
    this.#control(EPOLL_CTL_DEL, fd);
  }

  take(came: (fd: number, events: number) => void): void {
    const count = this.#libc.epoll_wait!(this.fd, this.#events, MAX_EVENTS, 0);
    if (count < 0) {
      const errno = errnoOf(this.#libc);
      if (errno !== EINTR) throw failureOf(this.#libc, errno);
    }
    for (let i = 0; i < count; i++) {
      const at = i * EPOLL_EVENT.bytes;
      came(
        this.#eventsView.getInt32(at + EPOLL_EVENT.data, true),
        this.#eventsView.getUint32(at + EPOLL_EVENT.events, true),
      );
    }
  }

  #control(operation: number, fd: number): boolean {
    return this.#libc.epoll_ctl!(this.fd, operation, fd, this.#event) === 0;
  }
}
