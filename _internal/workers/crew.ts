/**
 * The workers of a path: as many as wanted, each replaced when it ends.
 *
 * ```text
 * starting ──all serve──▶ serving ──drain()──▶ draining ──▶ ended
 *    └─────one has failed────────────────────────────────────▲
 * ```
 */

import type { ErrorContext } from "../base/error_context.ts";
import { delay, onAbort } from "../base/event_loop.ts";
import { settlesWithin, SilenceTimer } from "../base/silence.ts";
import type { ChildProcess } from "../child/process.ts";
import { endOf } from "../pool/failures.ts";
import { Restarts } from "../pool/restarts.ts";
import type { ShutdownResult } from "../server/serving.ts";
import type { Figures, ServeParams } from "./program.ts";
import { Worker } from "./worker.ts";

/** What a crew needs. */
export interface CrewOptions {
  /** Starts the process of a worker. */
  readonly start: (signal: AbortSignal) => Promise<ChildProcess>;
  readonly count: number;
  /** Resolves when no client waits in the backlog, or when the signal aborts. */
  readonly untilEmpty: (signal: AbortSignal) => Promise<void>;
  /** How they serve. */
  readonly params: ServeParams;
  readonly maxRestartPause: number;
  /** How long, in milliseconds, a worker may take until it accepts. */
  readonly startTimeout: number;
  /** Makes the errors of workers that do not start. */
  readonly startContext: ErrorContext<null>;
  /** Makes the errors of reloads. */
  readonly reloadContext: ErrorContext<string | null>;
  /** Makes the errors of workers that end. */
  readonly context: ErrorContext<string | null>;
  /** Called with each end of a worker that was not asked for, and each start that fails. */
  readonly report: (error: unknown) => void;
}

/** The figures of one worker. */
export type WorkerFigures = Figures & { pid: number; draining: boolean; answers: boolean };

/** The workers of a path. */
export class Crew {
  readonly #options: CrewOptions;
  readonly #restarts: Restarts;
  /** Those that accept. */
  readonly #workers = new Set<Worker>();
  /** Those that finish their connections while others accept, and their ends. */
  readonly #leaving = new Map<Worker, Promise<ShutdownResult>>();
  /** The replacements that have begun. */
  readonly #pending = new Set<Promise<void>>();
  readonly #closing = new AbortController();
  #reloading: Promise<void> = Promise.resolve();
  #drained: Promise<ShutdownResult> | undefined;
  /** How many workers have ended without being asked. */
  lost = 0;

  constructor(options: CrewOptions) {
    this.#options = options;
    this.#restarts = new Restarts(options.maxRestartPause);
  }

  /** Starts all workers. If one fails, it ends the others and rejects. */
  async start(): Promise<void> {
    const starts = Array.from({ length: this.#options.count }, () => this.#add());
    const failed = (await Promise.allSettled(starts)).find(({ status }) => status === "rejected");
    if (failed === undefined) return;
    await this.drain(0);
    throw (failed as PromiseRejectedResult).reason;
  }

  /** Replaces each worker by a new one, one after the other. Rejects if they are drained first. */
  reload(): Promise<void> {
    const reloaded = this.#reloading.then(() => this.#reload());
    this.#reloading = reloaded.catch(() => {});
    return reloaded;
  }

  async #reload(): Promise<void> {
    for (const worker of [...this.#workers]) {
      if (this.#isClosing) break;
      await this.#add().catch((error) => {
        if (!this.#isClosing) throw withRest(error);
      });
      if (this.#isClosing) break;
      // It may have ended meanwhile, and have been replaced.
      if (!this.#workers.delete(worker)) continue;
      const left = worker.drain(Infinity);
      // The other workers accept.
      worker.leaveBacklog();
      this.#leaving.set(worker, left);
      left.then(() => this.#leaving.delete(worker));
      await worker.untilRetired(this.#closing.signal);
    }
    if (!this.#isClosing) return;
    const state = "they are shutting down, or have ended";
    throw this.#options.reloadContext.fail(new Deno.errors.BadResource(state));
  }

  /** Returns the figures of all workers. */
  figures(): Promise<WorkerFigures[]> {
    return Promise.all([...this.#workers, ...this.#leaving.keys()].map(async (worker) => {
      const { pid, isDraining: draining } = worker;
      return { pid, draining, ...await worker.figures() };
    }));
  }

  /**
   * Ends all workers, after their connections. Idempotent.
   *
   * @param timeout How long, in milliseconds, their handlers have.
   */
  drain(timeout: number): Promise<ShutdownResult> {
    return this.#drained ??= this.#drain(timeout);
  }

  async #drain(timeout: number): Promise<ShutdownResult> {
    this.#closing.abort();
    await this.#reloading;
    await Promise.all(this.#pending);
    const workers = [...this.#workers];
    const over = new AbortController();
    const emptied = this.#options.untilEmpty(over.signal).then(() => {
      for (const worker of workers) worker.leaveBacklog();
    });
    const results = await Promise.all([
      ...workers.map((worker) => worker.drain(timeout)),
      ...[...this.#leaving].map(async ([worker, left]) => {
        if (!await settlesWithin(left, timeout)) worker.kill();
        return await left;
      }),
    ]);
    // The deadline may have come first.
    over.abort();
    await emptied;
    return {
      completed: results.reduce((sum, { completed }) => sum + completed, 0),
      aborted: results.reduce((sum, { aborted }) => sum + aborted, 0),
    };
  }

  get #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  /** Starts a worker. */
  async #add(): Promise<void> {
    const worker = await this.#start();
    this.#workers.add(worker);
    worker.ended.then((status) => {
      if (this.#workers.delete(worker) && !worker.isDraining) this.#lose(worker, status);
    });
  }

  /** Starts a worker, and waits until it accepts. */
  async #start(): Promise<Worker> {
    const { start, params, startTimeout, startContext } = this.#options;
    // Not the signal of closing: it would end the process later, too, while it drains.
    const abort = new AbortController();
    const stop = onAbort(this.#closing.signal, () => abort.abort());
    const timer = new SilenceTimer(() => {
      const state = `it has not loaded within ${startTimeout} ms. Raise startTimeout, or await ` +
        "less in the module itself";
      abort.abort(startContext.error(Deno.errors.TimedOut, state));
    });
    timer.start(startTimeout);
    try {
      return await Worker.start(await start(abort.signal), params, startContext);
    } catch (error) {
      abort.signal.throwIfAborted();
      throw error;
    } finally {
      stop();
      timer.stop();
    }
  }

  /** A worker has ended without being asked. */
  #lose({ pid }: Worker, status: Deno.CommandStatus | undefined): void {
    if (this.#isClosing) return;
    this.lost++;
    this.#restarts.failed();
    const { context, report } = this.#options;
    const state = `its process ${pid} ${endOf(status)}. Another one is started`;
    report(context.error(Deno.errors.ConnectionAborted, state));
    const replaced = this.#replace();
    this.#pending.add(replaced);
    replaced.then(() => this.#pending.delete(replaced));
  }

  /** Starts a worker in the place of another one, after the pause that is due. Never rejects. */
  async #replace(): Promise<void> {
    while (!this.#isClosing) {
      await delay(this.#restarts.pause, this.#closing.signal).catch(() => {});
      if (this.#isClosing) return;
      try {
        return await this.#add();
      } catch (error) {
        if (this.#isClosing) return;
        this.#restarts.failed();
        this.#options.report(error);
      }
    }
  }
}

/** Returns the error of a reload that has failed. */
function withRest(error: unknown): unknown {
  if (error instanceof Error) error.message += ". The workers that were not replaced go on";
  return error;
}
