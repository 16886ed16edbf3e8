/**
 * A watch on a path that is ours.
 *
 * - The path and its lock are examined every 250 ms by two `lstat`, a few microseconds. A watcher
 *   of the file system would need permission for the directory, or would miss what happens there.
 * - A successor has the path for an instant before it has the lock. So a path that leads to another
 *   file is examined again after 50 ms before it counts as lost.
 * - The timers do not keep the process alive.
 *
 * ```
 *            another file           still, 50 ms later: lost(true)
 *   ours -------------------> doubt ------------------------------> lost, each 250 ms: lost(false)
 *     ^  <-------------------   |   <------ renew(), ours ---------   |
 *                               +--- another process has the lock ----+---> replaced(): ended
 * ```
 */

import type { PathState } from "./owned_path.ts";

/**
 * A path that a server has lost.
 *
 * @category Servers
 */
export interface PathLoss {
  /** The path. */
  readonly path: string;
  /**
   * What is there instead of the server's socket: nothing, another socket, or something else.
   * `"other"` also means that the path cannot be read.
   */
  readonly found: "nothing" | "socket" | "other";
  /** Whether the server binds it again. */
  readonly heals: boolean;
}

const LOOK_MS = 250;
const DOUBT_MS = 50;

/** What happens to a path. */
export interface PathEvents {
  /** Called once, when another process has the path and its lock. The watch has ended. */
  replaced(): void;
  /** Called at each look at which the path is lost, with `true` the first time. */
  lost(isFirst: boolean): void;
}

/** A watch on a path. */
export class PathWatch {
  readonly #look: () => PathState;
  readonly #events: PathEvents;
  readonly #timer: ReturnType<typeof setInterval>;
  #again: ReturnType<typeof setTimeout> | undefined;
  /** The number of consecutive looks at which the path was lost. */
  #lost = 0;

  /**
   * @param look Returns the state of the path.
   * @param events Called when the path is replaced or lost.
   */
  constructor(look: () => PathState, events: PathEvents) {
    this.#look = look;
    this.#events = events;
    this.#timer = setInterval(() => this.#tick(), LOOK_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Begins anew after the path was bound again. */
  renew(): void {
    this.#lost = 0;
    clearTimeout(this.#again);
  }

  /** Ends the watch. */
  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#again);
  }

  #tick(): void {
    clearTimeout(this.#again);
    let state;
    try {
      state = this.#look();
    } catch {
      // It cannot be examined just now. That does not mean that it is lost.
      return;
    }
    if (state === "ours") {
      this.#lost = 0;
    } else if (state === "replaced") {
      this.stop();
      this.#events.replaced();
    } else if (++this.#lost === 1) {
      this.#again = setTimeout(() => this.#tick(), DOUBT_MS);
      Deno.unrefTimer(this.#again as unknown as number);
    } else {
      this.#events.lost(this.#lost === 2);
    }
  }
}
