/** A wait for a busy lock, and the `SocketInUse` that names its holder when time has run out. */

import { SocketInUse } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { ObservedTime } from "../base/silence.ts";
import type { LockHolder, Obstacle } from "./obstacle.ts";

/** How long a lock is retried before it counts as held: `probe()` holds it for an instant. */
export const BUSY_MS = 200;
/** How long an empty or changing pid is read again before the holder counts as unknown. */
const PID_MS = 500;
/** How long a pid must stay the same: a holder writes its own just after it took the lock. */
const PID_SETTLED_MS = 10;
export const RETRY_MS = 5;

/** One wait for a lock. */
export class LockWait {
  readonly #context: ErrorContext;
  readonly #explain: (holder: string) => string;
  readonly #limitMs: number | undefined;
  #time: ObservedTime | undefined;
  #holder: number | undefined;
  #holderSince = 0;

  /**
   * @param context Why the lock is needed.
   * @param explain Returns what the holder prevents. The remedy is added to it.
   * @param limitMs How long to wait for a holder that will release the lock.
   */
  constructor(context: ErrorContext, explain: (holder: string) => string, limitMs?: number) {
    this.#context = context;
    this.#explain = explain;
    this.#limitMs = limitMs;
  }

  /** Waits before the next try. Throws when time has run out. */
  async wait(obstacle: Obstacle, signal?: AbortSignal): Promise<void> {
    const time = this.#time ??= new ObservedTime();
    const waited = time.elapsed;
    if ("error" in obstacle) {
      if (waited >= BUSY_MS) {
        throw Object.assign(obstacle.error, { operation: this.#context.operation });
      }
    } else {
      const { holder, isOurs } = obstacle;
      if (holder !== this.#holder) [this.#holder, this.#holderSince] = [holder, waited];
      const settled = holder !== undefined && waited - this.#holderSince >= PID_SETTLED_MS;
      if (waited >= (this.#limitMs ?? (settled ? BUSY_MS : PID_MS))) {
        const state = `${this.#explain(describe(obstacle))}. ` +
          `${isOurs ? "Close that server" : "Stop that one"} first, or choose another path`;
        throw this.#context.error(SocketInUse, state, { holder });
      }
    }
    await time.pause(RETRY_MS, signal);
  }
}

/** Returns the holder of a lock in words. */
function describe({ holder, isOurs }: LockHolder): string {
  if (holder === undefined) return "a running process";
  if (isOurs) return "this process";
  // A pid of another container means another process here.
  return holder === Deno.pid
    ? `another process ${holder} (of a container), or a worker of this one`
    : `process ${holder}`;
}
