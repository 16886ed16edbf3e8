/**
 * The times at which a busy socket waits for the event loop. Its calls need not wait, so without
 * this nothing else would run: no timer, and no other socket.
 */

import { othersTurn } from "../base/event_loop.ts";

/** The number of packets, or of accepted connections, after which other callbacks go first. */
const MOST_AT_ONCE = 64;

/** How long, in milliseconds, timers and other sockets may wait. */
const MOST_BUSY_MS = 5;

/** When this thread last waited for all that was ready. */
let waitedAt = 0;

/** The pace of one socket. */
export class PacketPace {
  #count = 0;

  /** Counts a packet. Returns what it must wait for; `undefined` if it may go at once. */
  next(): Promise<unknown> | undefined {
    return ++this.#count < MOST_AT_ONCE ? undefined : this.#othersFirst();
  }

  /** Called after a wait for the socket: everything else was ready as well. */
  waited(): void {
    this.#count = 0;
    waitedAt = performance.now();
  }

  /** Resolves after what else is ready. */
  #othersFirst(): Promise<unknown> {
    this.#count = 0;
    if (performance.now() - waitedAt < MOST_BUSY_MS) return new Promise(setImmediate);
    return othersTurn().then(() => waitedAt = performance.now());
  }
}
