/**
 * Looking after a path that is ours: is it still?
 *
 * - Every 250 ms, the path and its lock: two `lstat`, a few microseconds. A watcher of the file system
 *   would need permission for the directory, or misses what is done there.
 * - A successor has the path for an instant before it has the lock: so a path that is somebody else's is
 *   looked at again after 50 ms before it counts as lost.
 * - The timers keep no process alive.
 */

import type { PathState } from "./owned_path.ts";

const EVERY_MS = 250;
const AGAIN_MS = 50;

/** What is told of a path. */
export interface PathEvents {
  /** It is somebody else's, with its lock. The watch has ended. */
  replaced(): void;
  /** It is not ours; told at each look, the first time of each episode with `true`. */
  lost(isFirst: boolean): void;
}

/** A watch on a path. */
export class PathWatch {
  readonly #look: () => PathState;
  readonly #events: PathEvents;
  readonly #timer: ReturnType<typeof setInterval>;
  #again: ReturnType<typeof setTimeout> | undefined;
  /** Looks in a row at which the path was lost. */
  #lost = 0;

  /**
   * @param look Tells what became of the path.
   * @param events Is told.
   */
  constructor(look: () => PathState, events: PathEvents) {
    this.#look = look;
    this.#events = events;
    this.#timer = setInterval(() => this.#tick(), EVERY_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Says that the path is ours again: what is lost next is a new episode. */
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
      // It cannot be seen just now, which says nothing about whose it is.
      return;
    }
    if (state === "ours") {
      this.#lost = 0;
    } else if (state === "replaced") {
      this.stop();
      this.#events.replaced();
    } else if (++this.#lost === 1) {
      this.#again = setTimeout(() => this.#tick(), AGAIN_MS);
      Deno.unrefTimer(this.#again as unknown as number);
    } else {
      this.#events.lost(this.#lost === 2);
    }
  }
}
