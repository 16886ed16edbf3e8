/**
 * Waits until a descriptor can be read or written.
 *
 * - While anything waits, one thread of Deno's is in `epoll_wait`. Descriptors are added and
 *   removed meanwhile, by synchronous calls.
 * - Each wait is armed once (`EPOLLONESHOT`), so an event wakes the thread once.
 * - {@linkcode Readiness.forget} must be called before a descriptor is closed: the kernel would
 *   keep an interest in what else holds the same socket.
 *
 * epoll(7) of Linux. The layout of `struct epoll_event` is packed on x86_64 only
 * (`include/uapi/linux/eventpoll.h`).
 */

import type { Libc } from "./library.ts";
import { lastFailure } from "./failure.ts";
import { POLLIN, POLLOUT } from "./constants.ts";
import { fixedMemory } from "./memory.ts";

const EPOLL_CLOEXEC = 0o2000000;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLLONESHOT = 1 << 30;
const EFD_CLOEXEC_NONBLOCK = 0o2004000;

const EVENT_BYTES = Deno.build.arch === "x86_64" ? 12 : 16;
const DATA_OFFSET = EVENT_BYTES - 8;
const MAX_EVENTS = 64;

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
  readonly #libc: Libc;
  readonly #epoll: number;
  readonly #wake: number;
  readonly #waits = new Map<number, Wait[]>();
  /** The descriptors that epoll knows. */
  readonly #known = new Set<number>();
  readonly #event: Uint8Array<ArrayBuffer> = fixedMemory(EVENT_BYTES);
  #isRunning = false;

  constructor(libc: Libc) {
    this.#libc = libc;
    this.#epoll = libc.epoll_create1!(EPOLL_CLOEXEC);
    if (this.#epoll < 0) throw lastFailure(libc);
    this.#wake = libc.eventfd!(0, EFD_CLOEXEC_NONBLOCK);
    if (this.#wake < 0) throw lastFailure(libc);
    this.#control(EPOLL_CTL_ADD, this.#wake, POLLIN);
  }

  /**
   * Resolves when the descriptor can be read or written, or has ended or failed.
   *
   * @param signal Ends the wait with its reason.
   */
  wait(fd: number, direction: Direction, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    try {
      signal?.throwIfAborted();
      const wait: Wait = { direction, resolve, reject };
      const waits = this.#waits.get(fd) ?? [];
      waits.push(wait);
      this.#waits.set(fd, waits);
      this.#arm(fd, waits);
      if (signal !== undefined) {
        const stop = () => this.#remove(fd, wait, signal.reason);
        signal.addEventListener("abort", stop, { once: true });
        const done = () => signal.removeEventListener("abort", stop);
        promise.then(done, done);
      }
      if (!this.#isRunning) this.#run();
    } catch (error) {
      reject(error);
    }
    return promise;
  }

  /** Ends all waits for a descriptor, with an error. Called before it is closed. */
  forget(fd: number, error: unknown): void {
    if (this.#known.delete(fd)) this.#control(EPOLL_CTL_DEL, fd, 0);
    const waits = this.#waits.get(fd) ?? [];
    this.#waits.delete(fd);
    for (const { reject } of waits) reject(error);
    this.#stopIfIdle();
  }

  #remove(fd: number, wait: Wait, reason: unknown): void {
    const waits = this.#waits.get(fd);
    const place = waits?.indexOf(wait) ?? -1;
    if (waits === undefined || place < 0) return;
    waits.splice(place, 1);
    if (waits.length === 0) this.#waits.delete(fd);
    this.#arm(fd, waits);
    wait.reject(reason);
    this.#stopIfIdle();
  }

  /** Sets what the kernel reports once for a descriptor. */
  #arm(fd: number, waits: readonly Wait[]): void {
    const events = waits.reduce((mask, { direction }) => mask | EVENTS[direction], 0);
    this.#control(this.#known.has(fd) ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, events | EPOLLONESHOT);
    this.#known.add(fd);
  }

  #control(operation: number, fd: number, events: number): void {
    const view = new DataView(this.#event.buffer);
    view.setUint32(0, events, true);
    view.setInt32(DATA_OFFSET, fd, true);
    if (this.#libc.epoll_ctl!(this.#epoll, operation, fd, this.#event) < 0) {
      throw lastFailure(this.#libc);
    }
  }

  /** Lets the thread go if nothing waits, because it keeps the process alive. */
  #stopIfIdle(): void {
    if (this.#isRunning && this.#waits.size === 0) this.#libc.eventfd_write!(this.#wake, 1n);
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    const events = fixedMemory(MAX_EVENTS * EVENT_BYTES);
    const view = new DataView(events.buffer);
    const count = fixedMemory(8);
    while (this.#waits.size > 0) {
      const n = await this.#libc.epoll_wait!(this.#epoll, events, MAX_EVENTS, -1);
      for (let i = 0; i < n; i++) {
        const fd = view.getInt32(i * EVENT_BYTES + DATA_OFFSET, true);
        if (fd === this.#wake) this.#libc.eventfd_read!(this.#wake, count);
        else this.#came(fd, view.getUint32(i * EVENT_BYTES, true));
      }
    }
    this.#isRunning = false;
  }

  #came(fd: number, events: number): void {
    const waits = this.#waits.get(fd);
    if (waits === undefined) return;
    const isReady = ({ direction }: Wait) =>
      (events & ~(POLLIN | POLLOUT) | EVENTS[direction] & events) !== 0;
    const left = waits.filter((wait) => !isReady(wait));
    if (left.length > 0) this.#waits.set(fd, left);
    else this.#waits.delete(fd);
    if (left.length > 0) this.#arm(fd, left);
    for (const wait of waits) if (isReady(wait)) wait.resolve();
  }
}

let shared: Readiness | undefined;

/** Returns the waits of this thread. */
export function readiness(libc: Libc): Readiness {
  return shared ??= new Readiness(libc);
}
