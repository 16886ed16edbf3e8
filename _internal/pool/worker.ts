/** A child of a pool, and the calls that it runs. */

import type { Child } from "../../pair.ts";
import { settlesWithin, SilenceTimer } from "../base/silence.ts";
import { KILLED_MS } from "../child/process.ts";
import type { Peer } from "../rpc/peer.ts";
import type { Task } from "./task.ts";

/** The notification that cancels a call. */
export const CANCEL_METHOD = "$/cancelRequest";
/** The notification of the progress of a method. */
export const PROGRESS_METHOD = "progress";

/** Begins to call methods of a child. */
export type Connect = (child: Child, onProgress: (progress: object) => void) => Peer;

/** A call that a child runs. */
interface Run {
  readonly id: number;
  /** Ends the child if it goes on after the call was given up. */
  readonly timer: SilenceTimer;
}

/** A child of a pool. */
export class Worker {
  readonly #child: Child;
  readonly #peer: Peer;
  readonly #runs = new Map<Task, Run>();
  readonly #cancelGrace: number;

  /** Whether this process has killed it. */
  isKilled = false;

  /**
   * @param connect Returns the calls over the child's connection.
   * @param cancelGrace How long, in milliseconds, it may go on with a call that was given up.
   */
  constructor(child: Child, connect: Connect, cancelGrace: number) {
    this.#child = child;
    // Without concurrency only one call can be meant.
    this.#peer = connect(child, (progress) => this.#runs.keys().next().value?.report(progress));
    this.#cancelGrace = cancelGrace;
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** Resolves when the connection has ended. */
  get closed(): Promise<void> {
    return this.#peer.closed;
  }

  /** The calls that it runs. */
  get tasks(): ReadonlyMap<Task, unknown> {
    return this.#runs;
  }

  /** Runs a call. Rejects with `CallInterrupted` if the child ends. */
  async run(task: Task): Promise<unknown> {
    const answer = this.#peer.call(task.method, task.params);
    const timer = new SilenceTimer(() => this.kill());
    this.#runs.set(task, { id: this.#peer.lastId, timer });
    try {
      return await answer;
    } finally {
      timer.stop();
      this.#runs.delete(task);
    }
  }

  /** Asks the child to cancel a call, and ends it if it goes on. */
  cancel(task: Task): void {
    const run = this.#runs.get(task);
    if (run === undefined) return;
    // If the connection has ended, the call ends as well.
    this.#peer.notify(CANCEL_METHOD, { id: run.id }).catch(() => {});
    run.timer.start(this.#cancelGrace);
  }

  kill(): void {
    this.isKilled = true;
    this.#child.kill("SIGKILL");
  }

  /** Ends the child, and returns its status unless the system holds it. */
  async end(): Promise<Deno.CommandStatus | undefined> {
    await this.#child[Symbol.asyncDispose]();
    return await settlesWithin(this.#child.status, KILLED_MS) ? this.#child.status : undefined;
  }
}
