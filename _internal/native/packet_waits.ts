/**
 * The operations that wait for one direction of a socket, first come first served.
 *
 *     add ──▶ [wait until ready ──▶ try as many as go] … ──▶ none is left
 */

import { rejectSeen } from "../base/caller_stack.ts";
import { delay, onAbort } from "../base/event_loop.ts";
import { GrowingPauses } from "../base/growing_pauses.ts";

/**
 * The pauses, in milliseconds, if the kernel calls a socket ready that is not: the queue of a
 * datagram socket that we are not connected to may be full (unix(7)).
 */
const FIRST_PAUSE_MS = 1;
const LONGEST_PAUSE_MS = 50;

interface Wait<Job, Result> {
  readonly job: Job;
  resolve(result: Result): void;
  reject(error: unknown): void;
}

/** What the waits of a direction need. */
interface Direction<Job, Result> {
  /** Does a job. Returns `undefined` if it must wait. */
  attempt(job: Job): Result | undefined;
  /** Resolves when it may be worth an attempt. */
  ready(signal: AbortSignal): Promise<void>;
}

/** The waits of one direction. */
export class PacketWaits<Job, Result> {
  readonly #direction: Direction<Job, Result>;
  readonly #waits: Wait<Job, Result>[] = [];
  #isRunning = false;
  #stop = new AbortController();
  #idle = Promise.withResolvers<void>();

  constructor(direction: Direction<Job, Result>) {
    this.#direction = direction;
  }

  /** The number of jobs. */
  get length(): number {
    return this.#waits.length;
  }

  /** Resolves when no job is left. */
  get idle(): Promise<void> {
    return this.length === 0 ? Promise.resolve() : this.#idle.promise;
  }

  /**
   * Does a job after all others.
   *
   * @param signal Takes the job back, unless it is done.
   * @param first What to wait for, if not until the socket is ready.
   */
  add(job: Job, signal: AbortSignal | undefined, first?: Promise<unknown>): Promise<Result> {
    return new Promise((resolve, reject) => {
      const ignore = onAbort(signal, () => {
        const place = this.#waits.indexOf(wait);
        if (place < 0) return;
        this.#waits.splice(place, 1);
        reject(signal!.reason);
        this.#stopIfIdle();
      });
      const wait: Wait<Job, Result> = {
        job,
        resolve(result) {
          ignore();
          resolve(result);
        },
        reject(error) {
          ignore();
          rejectSeen(resolve, error);
        },
      };
      this.#waits.push(wait);
      if (!this.#isRunning) this.#run(first);
    });
  }

  /** Ends all jobs. */
  fail(errorOf: (job: Job) => unknown): void {
    for (const { job, reject } of this.#waits.splice(0)) reject(errorOf(job));
    this.#stopIfIdle();
  }

  #stopIfIdle(): void {
    if (this.#waits.length === 0) this.#stop.abort();
  }

  async #run(first?: Promise<unknown>): Promise<void> {
    this.#isRunning = true;
    const pauses = new GrowingPauses(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
    await first;
    while (this.#waits.length > 0) {
      // After a pause the socket was called ready, and is asked directly.
      if (!this.#advance()) {
        const { signal } = this.#stop = new AbortController();
        await this.#direction.ready(signal).catch((error) => {
          if (!signal.aborted) this.fail(() => error);
        });
        if (this.#advance()) pauses.reset();
        else if (this.#waits.length > 0) await delay(pauses.next(), signal).catch(() => {});
      }
    }
    this.#isRunning = false;
    this.#idle.resolve();
    this.#idle = Promise.withResolvers();
  }

  /** Does all jobs that need not wait. Reports whether there were any. */
  #advance(): boolean {
    let count = 0;
    for (let wait; (wait = this.#waits[0]) !== undefined; count++) {
      try {
        const result = this.#direction.attempt(wait.job);
        if (result === undefined) break;
        this.#waits.shift();
        wait.resolve(result);
      } catch (error) {
        this.#waits.shift();
        wait.reject(error);
      }
    }
    return count > 0;
  }
}
