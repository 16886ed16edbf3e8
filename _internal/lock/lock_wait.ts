/**
 * How long a lock that is taken is tried again, and what is said then.
 *
 * - A prober holds a shared lock for an instant, and a holder writes its pid an instant after it has taken
 *   the lock. So the first try does not decide.
 */

import { SocketInUse } from "../../errors.ts";
import { ObservedTime } from "../base/silence.ts";

/** How long a lock is tried before it counts as taken. */
export const BUSY_MS = 200;
/** How long an empty or changing pid is read again before the holder counts as unknown. */
const PID_MS = 500;
/** How long a pid has to stay the same to be the holder's own, and not its predecessor's. */
const PID_SETTLED_MS = 10;
export const RETRY_MS = 5;

/** What is being tried, for the errors. */
export interface Attempt {
  operation: string;
  path: string;
}

/** Who holds a lock, as far as that can be told. */
export interface LockHolder {
  /** Its pid. */
  holder: number | undefined;
  /** The inode of the socket that it has published by renaming it. */
  published?: number;
  /** The lock file. */
  info?: Deno.FileInfo;
  /** Whether this process holds it. */
  isOurs?: boolean;
}

/** Why the lock could not be taken just now. */
export type Obstacle = LockHolder | { error: Error };

/** One wait for a lock. */
export class LockPatience {
  readonly #attempt: Attempt;
  readonly #explain: (holder: string, remedy: string) => string;
  readonly #limit: number | undefined;
  #time: ObservedTime | undefined;
  #holder: number | undefined;
  #holderSince = 0;

  /**
   * @param attempt What the lock is wanted for.
   * @param explain The message when it is over, of who holds the lock and what to do about it.
   * @param limit Milliseconds, where the holder is expected to let go.
   */
  constructor(
    attempt: Attempt,
    explain: (holder: string, remedy: string) => string,
    limit?: number,
  ) {
    this.#attempt = attempt;
    this.#explain = explain;
    this.#limit = limit;
  }

  /** Waits until the next try, or throws what stands in the way. */
  async wait(obstacle: Obstacle, signal?: AbortSignal): Promise<void> {
    const time = this.#time ??= new ObservedTime();
    const waited = time.elapsed;
    if ("error" in obstacle) {
      if (waited >= BUSY_MS) {
        throw Object.assign(obstacle.error, { operation: this.#attempt.operation });
      }
    } else {
      const { holder } = obstacle;
      if (holder !== this.#holder) [this.#holder, this.#holderSince] = [holder, waited];
      const settled = holder !== undefined && waited - this.#holderSince >= PID_SETTLED_MS;
      if (waited >= (this.#limit ?? (settled ? BUSY_MS : PID_MS))) {
        const remedy = obstacle.isOurs ? "close that server" : "stop that one";
        throw new SocketInUse(this.#explain(nameOf(obstacle), remedy), {
          ...this.#attempt,
          holder,
        });
      }
    }
    await time.pause(RETRY_MS, signal);
  }
}

/** Who holds a lock, in words. */
function nameOf({ holder, isOurs }: LockHolder): string {
  if (holder === undefined) return "a running process";
  if (isOurs) return "this process";
  // A pid of another container means another process here.
  return holder === Deno.pid
    ? `another process ${holder} (of a container), or a worker of this one`
    : `process ${holder}`;
}
