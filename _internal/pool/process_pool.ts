/**
 * The children of a pool, and the calls that wait for them.
 *
 * ```text
 * open ──► closing   dispose: what runs is finished, nothing else begins
 *   └────────┴─────► closed   close(): all children are killed
 * ```
 */

import { CallInterrupted } from "../../errors.ts";
import type { Child } from "../../pair.ts";
import { seenFrom } from "../base/caller_stack.ts";
import {
  checkBoolean,
  checkFunction,
  checkOptions,
  type Checks,
  checkSignal,
  duration,
} from "../base/check.ts";
import { delay, onAbort } from "../base/event_loop.ts";
import { stateOf, timedOut } from "../base/failure.ts";
import { rejected } from "../base/rejection.ts";
import { checkCall } from "../rpc/peer.ts";
import { closedError, contextOf, interrupted, lostError } from "./failures.ts";
import { Restarts } from "./restarts.ts";
import { type PoolCallOptions, Task } from "./task.ts";
import { type Connect, PROGRESS_METHOD, Worker } from "./worker.ts";

/** What a pool needs: its options, and a way to start a child and to call it. */
export interface ProcessPoolOptions {
  readonly start: (signal: AbortSignal) => Promise<Child>;
  readonly connect: Connect;
  /** The methods that children may call. */
  readonly methods: object;
  readonly size: number;
  readonly maxConcurrent: number;
  readonly maxQueued: number;
  readonly timeout: number;
  readonly idempotent: ReadonlySet<string>;
  readonly cancelGrace: number;
  readonly maxRestartPause: number;
}

/** How many children may end while they run the same call. */
const MAX_RUNS = 3;

const CALL_CHECKS: Checks<PoolCallOptions> = {
  signal: checkSignal,
  timeout: duration(1),
  idempotent: checkBoolean,
  onProgress: checkFunction,
};

/** The implementation of `Pool`. */
export class ProcessPool {
  readonly #options: ProcessPoolOptions;
  /** The calls that wait, in order, and some that were given up. */
  #waiting: Task[] = [];
  /** How many of them were given up. */
  #givenUp = 0;
  readonly #workers = new Set<Worker>();
  readonly #restarts: Restarts;
  /** The starts of children, and the ends of those that have failed. */
  readonly #pending = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #starting = 0;
  /** Resolves when no call waits. */
  #ready: PromiseWithResolvers<void> | undefined;

  constructor(options: ProcessPoolOptions) {
    this.#options = options;
    this.#restarts = new Restarts(options.maxRestartPause);
  }

  get size(): number {
    return this.#options.size;
  }

  get running(): number {
    return this.#workers.values().reduce((sum, { tasks }) => sum + tasks.size, 0);
  }

  get waiting(): number {
    return this.#waiting.length - this.#givenUp;
  }

  get pids(): number[] {
    return [...this.#workers].map(({ pid }) => pid);
  }

  get ready(): Promise<void> {
    if (this.waiting === 0) return Promise.resolve();
    return (this.#ready ??= Promise.withResolvers()).promise;
  }

  call(method: string, params?: object, options: PoolCallOptions = {}): Promise<unknown> {
    try {
      checkCall(method, params);
      checkOptions("call", options, CALL_CHECKS);
      const { methods, maxConcurrent, maxQueued } = this.#options;
      if (options.onProgress !== undefined && maxConcurrent > 1) {
        throw new TypeError(
          "Invalid onProgress: with maxConcurrent of more than 1, a notification does not show " +
            "which call it is from. Pass methods to pool()",
        );
      }
      if (options.onProgress !== undefined && Object.hasOwn(methods, PROGRESS_METHOD)) {
        throw new TypeError(
          'Invalid onProgress: the methods of the pool have "progress", which gets all progress',
        );
      }
      options.signal?.throwIfAborted();
      if (this.#isClosing) throw closedError(method);
      if (this.waiting - this.#free >= maxQueued) {
        const state = `${maxQueued} calls wait for a child already. Await "ready" before each call`;
        throw contextOf(method).error(Deno.errors.Busy, state);
      }
      const { timeout = this.#options.timeout, idempotent, ...others } = options;
      const mayRepeat = idempotent ?? this.#options.idempotent.has(method);
      const task: Task = new Task(method, params, { ...others, timeout, idempotent: mayRepeat }, {
        onTimeout: () => this.#timeOut(task, timeout),
        onAbort: () => this.#giveUp(task, options.signal?.reason),
      });
      this.#waiting.push(task);
      this.#dispatch();
      return task.promise;
    } catch (error) {
      return rejected(seenFrom(this.call, error));
    }
  }

  close(): void {
    this.#shut();
    for (const worker of this.#workers) {
      for (const task of worker.tasks.keys()) {
        if (task.isSettled) continue;
        const state = "the pool was closed before the answer. The method may have run";
        task.reject(interrupted(task.method, true, state));
      }
      worker.kill();
    }
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#shut();
    // A child that ends meanwhile adds its end.
    while (this.#pending.size > 0) await Promise.all(this.#pending);
    await Promise.all([...this.#workers].map((worker) => worker.end()));
  }

  get #isClosing(): boolean {
    return this.#closing.signal.aborted;
  }

  /** The number of further calls that the children can run, with those that are not started. */
  get #free(): number {
    return this.#options.size * this.#options.maxConcurrent - this.running;
  }

  #shut(): void {
    this.#closing.abort();
    this.#refuseAll(({ method }) => closedError(method));
  }

  #refuseAll(errorOf: (task: Task) => Error): void {
    const tasks = this.#waiting.splice(0);
    this.#givenUp = 0;
    for (const task of tasks) task.reject(errorOf(task));
    this.#changed();
  }

  #changed(): void {
    if (this.waiting > 0) return;
    this.#ready?.resolve();
    this.#ready = undefined;
  }

  /** Passes waiting calls to children that have a place, and starts further children. */
  #dispatch(): void {
    for (let worker; this.waiting > 0 && (worker = this.#leastBusy()) !== undefined;) {
      const task = this.#waiting.shift()!;
      if (task.isSettled) this.#givenUp--;
      else this.#track(this.#run(worker, task));
    }
    this.#changed();
    if (this.#isClosing) return;
    const wanted = Math.min(this.#options.size, this.running + this.waiting);
    while (this.#workers.size + this.#starting < wanted) {
      if (this.#starting > 0 && !this.#restarts.isCalm) return;
      this.#track(this.#start());
    }
  }

  /** Returns the child that runs the fewest calls, if it may run another one. */
  #leastBusy(): Worker | undefined {
    let best: Worker | undefined;
    let least = this.#options.maxConcurrent;
    for (const worker of this.#workers) {
      if (worker.tasks.size >= least) continue;
      best = worker;
      least = worker.tasks.size;
    }
    return best;
  }

  #track(work: Promise<void>): void {
    this.#pending.add(work);
    work.finally(() => this.#pending.delete(work));
  }

  /** Starts a child, after the pause that is due. Never rejects. */
  async #start(): Promise<void> {
    const { start, connect, cancelGrace } = this.#options;
    // Not the signal of closing: it would end the child later, too, while it finishes a call.
    const abort = new AbortController();
    const { signal } = abort;
    const stop = onAbort(this.#closing.signal, () => abort.abort());
    this.#starting++;
    try {
      await delay(this.#restarts.pause, signal);
      const child = await start(signal);
      try {
        const worker = new Worker(child, connect, cancelGrace);
        this.#workers.add(worker);
        worker.closed.then(() => this.#lose(worker));
      } catch (error) {
        child.kill("SIGKILL");
        await Promise.allSettled([child[Symbol.asyncDispose]()]);
        throw error;
      }
    } catch (error) {
      if (!this.#isClosing) this.#notStarted(error);
    } finally {
      stop();
      this.#starting--;
      this.#dispatch();
    }
  }

  #notStarted(error: unknown): void {
    this.#restarts.failed();
    // Other children run what waits.
    if (this.#workers.size > 0 || this.#starting > 1) return;
    this.#refuseAll(({ method }) => contextOf(method).fail(error, stateOf(error)));
  }

  /** Runs a call, and settles it unless it must run again. Never rejects. */
  async #run(worker: Worker, task: Task): Promise<void> {
    task.isWaiting = false;
    task.runs++;
    try {
      task.resolve(await worker.run(task));
    } catch (error) {
      if (task.isSettled || !(error instanceof CallInterrupted)) task.reject(error);
      else await this.#repeat(worker, task, error);
    }
    this.#dispatch();
  }

  /** The child has ended, or its connection has. Runs the call again, or rejects it. */
  async #repeat(worker: Worker, task: Task, error: CallInterrupted): Promise<void> {
    const status = await this.#lose(worker);
    if (task.isSettled) return;
    const mayRepeat = (task.idempotent || !error.sent) && task.runs < MAX_RUNS;
    if (mayRepeat && !this.#isClosing) {
      task.isWaiting = true;
      this.#waiting.unshift(task);
    } else task.reject(lostError(task, worker.pid, error.sent, status));
  }

  /** Ends a child that takes no more calls. */
  #lose(worker: Worker): Promise<Deno.CommandStatus | undefined> {
    if (this.#workers.delete(worker) && !worker.isKilled) this.#restarts.failed();
    const end = worker.end();
    this.#track(end.then(() => {}));
    return end;
  }

  #timeOut(task: Task, timeout: number): void {
    const state = task.isWaiting ? "it still waited for a child" : "its method was running";
    const cause = timedOut(`no answer came within ${timeout} ms, and ${state}`);
    this.#giveUp(task, Object.assign(contextOf(task.method).fail(cause), { method: task.method }));
  }

  #giveUp(task: Task, reason: unknown): void {
    task.reject(reason);
    if (!task.isWaiting) {
      for (const worker of this.#workers) worker.cancel(task);
      return;
    }
    this.#givenUp++;
    // Only then: with thousands of calls, to look for each one would take seconds.
    if (2 * this.#givenUp > this.#waiting.length) {
      this.#waiting = this.#waiting.filter(({ isSettled }) => !isSettled);
      this.#givenUp = 0;
    }
    this.#changed();
  }
}
