/**
 * Waits until a descriptor can be read or written, on the event loop.
 *
 * - One set of the kernel holds all descriptors (epoll, or kqueue on macOS). An {@linkcode Alarm}
 *   calls back when it has events.
 * - Each wait is armed once. A wait may end early, so its caller tries again, and waits again.
 * - {@linkcode Readiness.forget} must be called before a descriptor is closed: the kernel would
 *   keep the interest if another descriptor holds the same socket.
 * - A worker that ends leaves two descriptors open, because nothing runs at its end.
 */

import { onAbort } from "../base/event_loop.ts";
import { AioAlarm } from "./aio_alarm.ts";
import { IS_MAC, POLLIN, POLLOUT } from "./constants.ts";
import { EpollSet } from "./epoll_set.ts";
import type { Alarm, EventSet } from "./event_set.ts";
import { KqueueSet } from "./kqueue_set.ts";
import type { Libc } from "./library.ts";
import { ThreadAlarm } from "./thread_alarm.ts";

/** What a wait is for. */
export type Direction = "read" | "write";

const EVENTS: Record<Direction, number> = { read: POLLIN, write: POLLOUT };

interface Wait {
  readonly direction: Direction;
  resolve(): void;
  reject(error: unknown): void;
}

/** The waits of this thread. */
export class Readiness {
  readonly #set: EventSet;
  readonly #alarm: Alarm;
  readonly #waits = new Map<number, Wait[]>();
  /** The descriptors of waits that do not keep the process alive. */
  readonly #unrefed = new Set<number>();
  /** The number of descriptors of waits that keep the process alive. */
  #keeping = 0;

  constructor(libc: Libc) {
    this.#set = IS_MAC ? new KqueueSet(libc) : new EpollSet(libc);
    const came = () => this.#came();
    try {
      this.#alarm = (IS_MAC ? undefined : AioAlarm.open(libc, this.#set.fd, came)) ??
        new ThreadAlarm(libc, this.#set, came);
    } catch (error) {
      libc.close(this.#set.fd);
      throw error;
    }
  }

  /**
   * Resolves when the descriptor can be read or written, or has ended or failed. A file resolves at
   * once.
   *
   * @param signal Ends the wait with its reason.
   */
  wait(fd: number, direction: Direction, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    try {
      signal?.throwIfAborted();
      const wait: Wait = { direction, resolve, reject };
      const waits = this.#waits.get(fd) ?? [];
      if (!this.#arm(fd, [...waits, wait])) {
        resolve();
        return promise;
      }
      if (waits.push(wait) === 1) this.#begin(fd, waits);
      if (signal !== undefined) {
        const stop = onAbort(signal, () => this.#remove(fd, wait, signal.reason));
        promise.then(stop, stop);
      }
      this.#alarm.start();
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  /** Ends all waits for a descriptor, with an error. Called before it is closed. Never throws. */
  forget(fd: number, error: unknown): void {
    this.#set.remove(fd);
    const waits = this.#waits.get(fd) ?? [];
    this.#end(fd);
    this.#unrefed.delete(fd);
    for (const { reject } of waits) reject(error);
  }

  /** Allows the process to exit while something waits for the descriptor, until it is forgotten. */
  unref(fd: number): void {
    if (this.#unrefed.has(fd)) return;
    this.#unrefed.add(fd);
    if (this.#waits.has(fd)) this.#keep(-1);
  }

  /** Undoes {@linkcode Readiness.unref}. */
  ref(fd: number): void {
    if (this.#unrefed.delete(fd) && this.#waits.has(fd)) this.#keep(1);
  }

  #begin(fd: number, waits: Wait[]): void {
    this.#waits.set(fd, waits);
    if (!this.#unrefed.has(fd)) this.#keep(1);
  }

  #end(fd: number): void {
    if (this.#waits.delete(fd) && !this.#unrefed.has(fd)) this.#keep(-1);
  }

  #keep(more: 1 | -1): void {
    const before = this.#keeping;
    this.#keeping += more;
    if (before === 0) this.#alarm.ref();
    else if (this.#keeping === 0) this.#alarm.unref();
  }

  #remove(fd: number, wait: Wait, reason: unknown): void {
    const waits = this.#waits.get(fd);
    const place = waits?.indexOf(wait) ?? -1;
    if (waits === undefined || place < 0) return;
    waits.splice(place, 1);
    if (waits.length === 0) {
      this.#end(fd);
      this.#set.remove(fd);
    }
    wait.reject(reason);
  }

  /** Arms what is waited for. Reports whether the kernel can tell it; for a file it cannot. */
  #arm(fd: number, waits: readonly Wait[]): boolean {
    return this.#set.arm(fd, waits.reduce((mask, { direction }) => mask | EVENTS[direction], 0));
  }

  /** Ends the waits for events that have come. */
  #came(): void {
    try {
      this.#set.take((fd, events) => this.#settle(fd, events));
      if (this.#waits.size > 0) this.#alarm.start();
    } catch (error) {
      for (const fd of [...this.#waits.keys()]) this.forget(fd, error);
    }
  }

  #settle(fd: number, events: number): void {
    const waits = this.#waits.get(fd);
    if (waits === undefined) return;
    // An end or a failure is an event of both directions.
    const both = (events & ~(POLLIN | POLLOUT)) !== 0;
    const isReady = ({ direction }: Wait) => both || (events & EVENTS[direction]) !== 0;
    const left = waits.filter((wait) => !isReady(wait));
    this.#end(fd);
    for (const wait of waits) if (isReady(wait)) wait.resolve();
    if (left.length === 0) return;
    this.#begin(fd, left);
    try {
      this.#arm(fd, left);
    } catch (error) {
      this.forget(fd, error);
    }
  }
}

let shared: Readiness | undefined;

/** Returns the waits of this thread. */
export function readiness(libc: Libc): Readiness {
  return shared ??= new Readiness(libc);
}
