/** A worker, as its owner sees it. */

import { RpcError } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { settlesWithin } from "../base/silence.ts";
import { type ChildProcess, KILLED_MS } from "../child/process.ts";
import { endOf } from "../pool/failures.ts";
import { withDefaults } from "../rpc/options.ts";
import { Peer } from "../rpc/peer.ts";
import type { ShutdownResult } from "../server/serving.ts";
import type { Figures, ServeParams } from "./program.ts";

/** How much longer than its handlers have a worker may take to end, in milliseconds. */
const LATE_MS = 2000;
/** How long to wait, in milliseconds, for the figures of a worker, which may compute. */
const FIGURES_MS = 1000;
/** How long to wait, in milliseconds, until a worker that drains accepts no more. */
const RETIRE_MS = 5000;

/** A worker. */
export class Worker {
  readonly pid: number;
  /** Resolves when its process, or its connection to this one, has ended. */
  readonly ended: Promise<Deno.CommandStatus | undefined>;
  /** Whether it was asked to end. */
  isDraining = false;
  readonly #child: ChildProcess;
  readonly #peer: Peer;
  #figures: Figures = { connections: 0, accepted: 0 };

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.pid = child.pid;
    this.#peer = new Peer(child.conn, withDefaults({}));
    this.ended = this.#peer.closed.then(() => this.#end());
  }

  /**
   * Resolves when it accepts clients.
   *
   * @param context Makes the error of a module that cannot serve.
   */
  static async start(
    child: ChildProcess,
    params: ServeParams,
    context: ErrorContext<null>,
  ): Promise<Worker> {
    const worker = new Worker(child);
    let cause: unknown;
    const fault = await worker.#peer.call("serve", params).catch((error) => {
      cause = error;
    }) as string | null | undefined;
    if (fault === null) return worker;
    worker.#peer.close();
    const end = endOf(await worker.ended);
    const reason = cause instanceof RpcError ? cause.message : undefined;
    const state = fault ?? reason ?? `its process ${worker.pid} ${end} before it served`;
    throw context.error(Deno.errors.InvalidData, state, { cause } as never);
  }

  /** Returns its figures, the last known ones if it does not answer. */
  async figures(): Promise<Figures & { answers: boolean }> {
    let answers = true;
    try {
      this.#figures = await this.#peer.call("figures", {}, { timeout: FIGURES_MS }) as Figures;
    } catch {
      answers = false;
    }
    return { ...this.#figures, answers };
  }

  /**
   * Waits until it has finished its connections, and ends it. It accepts clients in the backlog
   * until {@linkcode leaveBacklog} is called, or the time is over. Never rejects.
   *
   * @param timeout How long, in milliseconds, its handlers have.
   */
  async drain(timeout: number): Promise<ShutdownResult> {
    this.isDraining = true;
    const params = { timeout: timeout === Infinity ? null : timeout };
    try {
      const limit = { timeout: timeout + LATE_MS };
      return await this.#peer.call("drain", params, limit) as ShutdownResult;
    } catch {
      // It has ended, or hangs.
      this.kill();
      return { completed: 0, aborted: this.#figures.connections };
    } finally {
      this.#peer.close();
      await this.ended;
    }
  }

  /** Ends its accepting. Call it after {@linkcode drain}. */
  leaveBacklog(): void {
    this.#peer.call("leaveBacklog").catch(() => {});
  }

  /**
   * Waits until it accepts no more, for at most 5 seconds: a worker that computes accepts nothing
   * either. Never rejects.
   *
   * @param signal Ends the wait.
   */
  async untilRetired(signal: AbortSignal): Promise<void> {
    const limit = { timeout: RETIRE_MS, signal };
    await this.#peer.call("untilRetired", {}, limit).catch(() => {});
  }

  kill(): void {
    this.#child.kill("SIGKILL");
  }

  async #end(): Promise<Deno.CommandStatus | undefined> {
    await this.#child[Symbol.asyncDispose]();
    return await settlesWithin(this.#child.status, KILLED_MS) ? this.#child.status : undefined;
  }
}
