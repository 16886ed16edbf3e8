/**
 * Learns from a thread of Deno's that a set has events, where {@linkcode AioAlarm} cannot be used:
 * on macOS, and where a security policy forbids asynchronous I/O.
 *
 * A thread that waits keeps the process alive. If nothing else should, a timer looks instead.
 */

import { AF_UNIX, MSG_DONTWAIT, POLLIN, SOCK_CLOEXEC, SOCK_STREAM } from "./constants.ts";
import type { Alarm, EventSet } from "./event_set.ts";
import { lastFailure } from "./failure.ts";
import { POLLFD } from "./layouts.ts";
import type { Libc } from "./library.ts";
import { fixedMemory } from "./memory.ts";

/** How often, in milliseconds, the timer looks. */
const LOOK_MS = 20;

/** An alarm by a thread that waits in poll(2). */
export class ThreadAlarm implements Alarm {
  readonly #libc: Libc;
  readonly #came: () => void;
  /** What the thread waits for: the set, and a socket that ends the wait. */
  readonly #polled: Uint8Array<ArrayBuffer> = fixedMemory(2 * POLLFD.bytes);
  readonly #ends = new Int32Array(new ArrayBuffer(8));
  readonly #byte: Uint8Array<ArrayBuffer> = fixedMemory(1);
  #isStarted = false;
  #isWaiting = false;
  #keepsAlive = false;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(libc: Libc, set: EventSet, came: () => void) {
    this.#libc = libc;
    this.#came = came;
    if (libc.socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, this.#ends) < 0) {
      throw lastFailure(libc);
    }
    const view = new DataView(this.#polled.buffer);
    [set.fd, this.#ends[0]!].forEach((fd, i) => {
      view.setInt32(i * POLLFD.bytes + POLLFD.fd, fd, true);
      view.setInt16(i * POLLFD.bytes + POLLFD.events, POLLIN, true);
    });
  }

  start(): void {
    this.#isStarted = true;
    if (this.#keepsAlive) this.#wait();
    else this.#look();
  }

  ref(): void {
    this.#keepsAlive = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#isStarted) this.#wait();
  }

  unref(): void {
    this.#keepsAlive = false;
    if (this.#isWaiting) this.#libc.send(this.#ends[1]!, this.#byte, 1n, MSG_DONTWAIT);
    if (this.#isStarted) this.#look();
  }

  /** Waits on a thread. */
  async #wait(): Promise<void> {
    if (this.#isWaiting) return;
    this.#isWaiting = true;
    // Whether it failed does not matter: a look at the set shows what has come.
    await this.#libc.pollOnThread(this.#polled, 2n, -1);
    while (this.#libc.recv(this.#ends[0]!, this.#byte, 1n, MSG_DONTWAIT) > 0);
    this.#isWaiting = false;
    this.#fire();
  }

  /** Looks later, by a timer that does not keep the process alive. */
  #look(): void {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#fire();
    }, LOOK_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  #fire(): void {
    if (!this.#isStarted) return;
    this.#isStarted = false;
    this.#came();
  }
}
