/** A set of descriptors that macOS watches: kqueue(2). Written from its manual, and not run. */

import {
  EV_ADD,
  EV_DELETE,
  EV_ONESHOT,
  EVFILT_READ,
  EVFILT_WRITE,
  POLLIN,
  POLLOUT,
} from "./constants.ts";
import type { EventSet } from "./event_set.ts";
import { lastFailure } from "./failure.ts";
import { KEVENT } from "./layouts.ts";
import type { Libc } from "./library.ts";
import { fixedMemory } from "./memory.ts";

/** How many events are taken at once. The others are taken next. */
const MAX_EVENTS = 64;

const FILTERS = [[POLLIN, EVFILT_READ], [POLLOUT, EVFILT_WRITE]] as const;

/** A set of kqueue. */
export class KqueueSet implements EventSet {
  readonly fd: number;
  readonly #libc: Libc;
  readonly #event: Uint8Array<ArrayBuffer> = fixedMemory(KEVENT.bytes);
  readonly #events: Uint8Array<ArrayBuffer> = fixedMemory(MAX_EVENTS * KEVENT.bytes);
  readonly #eventView = new DataView(this.#event.buffer);
  readonly #eventsView = new DataView(this.#events.buffer);
  /** A `struct timespec` of zero. */
  readonly #atOnce: Uint8Array<ArrayBuffer> = fixedMemory(16);

  constructor(libc: Libc) {
    this.#libc = libc;
    this.fd = libc.kqueue!();
    if (this.fd < 0) throw lastFailure(libc);
  }

  arm(fd: number, events: number): boolean {
    for (const [event, filter] of FILTERS) {
      this.#change(fd, filter, (events & event) !== 0 ? EV_ADD | EV_ONESHOT : EV_DELETE);
    }
    return true;
  }

  remove(fd: number): void {
    try {
      this.arm(fd, 0);
    } catch {
      // It is closed, and the set has forgotten it.
    }
  }

  take(came: (fd: number, events: number) => void): void {
    const count = this.#libc.kevent!(this.fd, null, 0, this.#events, MAX_EVENTS, this.#atOnce);
    if (count < 0) throw lastFailure(this.#libc);
    for (let i = 0; i < count; i++) {
      const at = i * KEVENT.bytes;
      const filter = this.#eventsView.getInt16(at + KEVENT.filter, true);
      const fd = Number(this.#eventsView.getBigUint64(at + KEVENT.ident, true));
      came(fd, filter === EVFILT_READ ? POLLIN : POLLOUT);
    }
  }

  /** Changes what is watched. Ignores that a filter to remove is not there. */
  #change(fd: number, filter: number, flags: number): void {
    this.#event.fill(0);
    this.#eventView.setBigUint64(KEVENT.ident, BigInt(fd), true);
    this.#eventView.setInt16(KEVENT.filter, filter, true);
    this.#eventView.setUint16(KEVENT.flags, flags, true);
    const result = this.#libc.kevent!(this.fd, this.#event, 1, null, 0, this.#atOnce);
    if (result < 0 && flags !== EV_DELETE) throw lastFailure(this.#libc);
  }
}
