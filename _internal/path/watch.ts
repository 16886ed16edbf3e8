/**
 * A watch on a path that is ours.
 *
 * - Two `lstat` examine the path and its lock, every 250 ms for a second. After that they run when
 *   the kernel reports a change of either file, and every 5 s. The kernel does not report a move of
 *   the directory, or a change by another machine.
 * - Looking every 250 ms costs an idle process 0.3 % of a core, because each time it wakes up. A
 *   report costs nothing until it comes, and needs no other permission.
 * - A successor has the path for an instant before it has the lock. So a path that leads to another
 *   file is examined again after 50 ms before it counts as lost.
 * - Neither the timers nor the reports keep the process alive.
 *
 * ```
 *            another file           still, 50 ms later: lost(true)
 *   ours -------------------> doubt ------------------------------> lost, each 250 ms: lost(false)
 *     ^  <-------------------   |   <------ renew(), ours ---------   |
 *                               +--- another process has the lock ----+---> replaced(): ended
 * ```
 */

import type { OwnedPath } from "./owned_path.ts";

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
/** How often to look while the kernel reports changes. */
const REPORTED_LOOK_MS = 5000;
/** How many looks come before reports are requested: most changes follow a start. */
const QUIET_LOOKS = 4;

/** What happens to a path. */
export interface PathEvents {
  /** Called once, when another process has the path and its lock. The watch has ended. */
  replaced(): void;
  /** Called at each look at which the path is lost, with `true` the first time. */
  lost(isFirst: boolean): void;
}

/** A watch on a path. */
export class PathWatch {
  readonly #owned: Pick<OwnedPath, "look" | "path">;
  readonly #events: PathEvents;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #reports: Deno.FsWatcher | undefined;
  #isStopped = false;
  /** The number of consecutive looks at which the path was ours. */
  #quiet = 0;
  /** The number of consecutive looks at which the path was lost. */
  #lost = 0;

  /**
   * @param owned The path.
   * @param events Called when the path is replaced or lost.
   */
  constructor(owned: Pick<OwnedPath, "look" | "path">, events: PathEvents) {
    this.#owned = owned;
    this.#events = events;
    this.#wait(LOOK_MS);
  }

  /** Begins anew after the path was bound again, unless the watch has ended. */
  renew(): void {
    if (this.#isStopped) return;
    this.#endReports();
    this.#lost = 0;
    this.#wait(LOOK_MS);
  }

  /** Ends the watch. */
  stop(): void {
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#endReports();
  }

  #wait(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#tick(), ms);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  #tick(): void {
    // Before the look: what changes in between is reported.
    if (this.#quiet === QUIET_LOOKS) this.#beginReports();
    let state;
    try {
      state = this.#owned.look();
    } catch {
      // It cannot be examined just now. That does not mean that it is lost.
      this.#endReports();
      return this.#wait(LOOK_MS);
    }
    if (state === "ours") {
      this.#lost = 0;
      this.#quiet++;
      return this.#wait(this.#reports === undefined ? LOOK_MS : REPORTED_LOOK_MS);
    }
    this.#endReports();
    if (state === "replaced") {
      this.stop();
      return this.#events.replaced();
    }
    this.#wait(++this.#lost === 1 ? DOUBT_MS : LOOK_MS);
    if (this.#lost > 1) this.#events.lost(this.#lost === 2);
  }

  /** Looks at the next report, if this process may have one more watcher. */
  #beginReports(): void {
    const { path } = this.#owned;
    let reports: Deno.FsWatcher & { unref?(): void } | undefined;
    try {
      reports = Deno.watchFs([path, `${path}.lock`]);
      const look = () => this.#reported(reports);
      reports[Symbol.asyncIterator]().next().then(look, look);
      // Deno's types do not have it. Without it the process could not exit.
      reports.unref!();
      this.#reports = reports;
    } catch {
      reports?.close();
    }
  }

  #reported(reports: Deno.FsWatcher | undefined): void {
    if (this.#reports !== reports) return;
    this.#endReports();
    this.#tick();
  }

  /** Ends the reports, which are about files that may be other ones now. */
  #endReports(): void {
    this.#quiet = 0;
    this.#reports?.close();
    this.#reports = undefined;
  }
}
