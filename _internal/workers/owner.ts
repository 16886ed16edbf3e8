/** The owner of a path that workers serve. It holds the listening socket, and accepts nothing. */

import type { UnixAddr } from "../../address.ts";
import type { SocketClaim } from "../../claim.ts";
import { seen, seenFrom } from "../base/caller_stack.ts";
import { checkOptions, type Checks, duration } from "../base/check.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { onAbort } from "../base/event_loop.ts";
import { handled } from "../base/rejection.ts";
import type { ChildProcess } from "../child/process.ts";
import { HeldSocket } from "../descriptor/held_socket.ts";
import { EMPTIES_BACKLOG } from "../server/claimed_server.ts";
import { GIVEN_MS } from "../server/drain.ts";
import type { ShutdownOptions, ShutdownResult } from "../server/serving.ts";
import { Crew, type CrewOptions } from "./crew.ts";
import type { Limits } from "./program.ts";

/**
 * The figures of one worker.
 *
 * @category Servers
 */
export interface WorkerStatistics {
  /** The number of its process. */
  readonly pid: number;
  /** The number of its open connections. */
  readonly connections: number;
  /** The number of connections that it has accepted. */
  readonly accepted: number;
  /** Whether it accepts no more, and finishes its connections. */
  readonly draining: boolean;
  /** Whether it has answered within a second. Otherwise the figures are the last known ones. */
  readonly answers: boolean;
}

/**
 * The workers of a path. Disposing of it shuts them down.
 *
 * @category Servers
 */
export interface WorkerServer extends AsyncDisposable {
  /** The address that clients connect to. */
  readonly addr: UnixAddr;
  /** Resolves when all workers have ended: after `shutdown()`, or because of a successor. */
  readonly finished: Promise<void>;
  /**
   * Replaces all workers by new ones, which load the module again. No client is refused or reset.
   *
   * - One worker after the other: a new one accepts before the old one stops.
   * - An old worker aborts `draining`, finishes its connections without a deadline, and exits. A
   *   client that never ends keeps it: heed `draining`.
   * - It resolves when only new workers accept. An old one that computes delays that by five
   *   seconds at most. A second call begins after the first.
   *
   * @throws {Deno.errors.InvalidData} when the module cannot be loaded, or throws. The workers that
   * were not replaced go on.
   * @throws {Deno.errors.TimedOut} when `startTimeout` is over. They go on, too.
   * @throws {Deno.errors.BadResource} when the workers shut down before it is over, or have ended.
   */
  reload(): Promise<void>;
  /** Returns figures of each worker. */
  statistics(): Promise<WorkersStatistics>;
  /**
   * Shuts down without losing a client that has reached the path: the name is removed, the workers
   * accept what is in the backlog, and their handlers have until the deadline.
   *
   * A second call returns the promise of the first one, whatever its options.
   *
   * @param options How long the handlers have.
   * @returns How many handlers finished, and how many connections were closed.
   */
  shutdown(options?: ShutdownOptions): Promise<ShutdownResult>;
}

/**
 * What {@linkcode WorkerServer.statistics} returns.
 *
 * @category Servers
 */
export interface WorkersStatistics {
  /** The workers that accept, and those that finish their connections. */
  readonly workers: WorkerStatistics[];
  /** How many workers have ended without being asked. */
  readonly lost: number;
}

/** What an owner needs. */
export interface OwnerOptions extends Omit<CrewOptions, "start" | "params" | "untilEmpty"> {
  readonly limits: Limits;
  /** Starts the process of a worker, with the descriptor of the socket. */
  readonly start: (fd: number, signal: AbortSignal) => Promise<ChildProcess>;
}

const SHUTDOWN_CHECKS: Checks<ShutdownOptions> = { timeout: duration() };

const DEFAULT_TIMEOUT_MS = 5000;

/** The implementation of `WorkerServer`. */
export class Owner implements WorkerServer {
  readonly addr: UnixAddr;
  readonly finished: Promise<void>;
  /** The path; `undefined` at a descriptor. */
  readonly #claim: SocketClaim | undefined;
  readonly #socket: HeldSocket;
  readonly #crew: Crew;
  readonly #ended = Promise.withResolvers<void>();
  #timeout = DEFAULT_TIMEOUT_MS;
  #shutdown: Promise<ShutdownResult> | undefined;
  #ending: Promise<void> | undefined;
  #abandoned: Promise<void> | undefined;

  private constructor(claim: SocketClaim | undefined, socket: HeldSocket, options: OwnerOptions) {
    this.addr = { transport: "unix", path: claim?.path ?? null };
    this.#claim = claim;
    this.#socket = socket;
    const { limits, ...others } = options;
    this.#crew = new Crew({
      ...others,
      params: { ...limits, backlog: socket.backlog },
      start: (signal) => options.start(socket.fd, signal),
      // At a descriptor clients keep coming.
      untilEmpty: (signal) => socket.untilEmpty(signal, claim === undefined ? GIVEN_MS : Infinity),
    });
    this.finished = handled(this.#ended.promise.then(() => claim?.release()));
  }

  /**
   * Binds a claimed path, and starts the workers. If one does not start, it releases the path.
   *
   * @param signal Shuts down.
   */
  static async open(
    claim: SocketClaim,
    options: OwnerOptions,
    signal: AbortSignal | undefined,
  ): Promise<Owner> {
    let owner!: Owner;
    try {
      await claim.bind((path) => {
        const socket = HeldSocket.bind(path);
        try {
          socket.listen();
        } catch (error) {
          socket.leavePath();
          socket.close();
          throw error;
        }
        owner = new Owner(claim, socket, options);
        // The claim disposes of this when it has removed the name.
        return { [EMPTIES_BACKLOG]: true, [Symbol.asyncDispose]: () => owner.#end() };
      });
    } catch (error) {
      // The first failure says more than one of the release.
      await claim.release().catch(() => {});
      throw error;
    }
    return await owner.#start(signal);
  }

  /**
   * Takes over a descriptor, and starts the workers. If one does not start, it closes the
   * descriptor.
   *
   * @param signal Shuts down.
   */
  static async openGiven(
    context: ErrorContext<null>,
    fd: number,
    options: OwnerOptions,
    signal: AbortSignal | undefined,
  ): Promise<Owner> {
    return await new Owner(undefined, HeldSocket.given(context, fd), options).#start(signal);
  }

  async #start(signal: AbortSignal | undefined): Promise<Owner> {
    const stop = onAbort(signal, () => handled(this.#abandon()));
    try {
      await this.#crew.start();
      signal?.throwIfAborted();
    } catch (error) {
      await this.#abandon();
      signal?.throwIfAborted();
      throw error;
    } finally {
      stop();
    }
    this.finished.finally(onAbort(signal, () => handled(this.shutdown()))).catch(() => {});
    return this;
  }

  reload(): Promise<void> {
    return seen(this.#crew.reload(), true);
  }

  async statistics(): Promise<WorkersStatistics> {
    return { workers: await this.#crew.figures(), lost: this.#crew.lost };
  }

  shutdown(options: ShutdownOptions = {}): Promise<ShutdownResult> {
    try {
      checkOptions("shutdown", options, SHUTDOWN_CHECKS);
    } catch (error) {
      return Promise.reject(seenFrom(this.shutdown, error));
    }
    if (this.#shutdown !== undefined) return this.#shutdown;
    this.#timeout = options.timeout ?? DEFAULT_TIMEOUT_MS;
    return this.#shutdown = seen(this.#leave());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  async #leave(): Promise<ShutdownResult> {
    await this.#release();
    return await this.#crew.drain(this.#timeout);
  }

  /** Ends without serving the clients that wait, which are reset. Idempotent. */
  #abandon(): Promise<void> {
    return this.#abandoned ??= this.#endEarly();
  }

  async #endEarly(): Promise<void> {
    try {
      await this.#crew.drain(0);
    } finally {
      await this.#release();
    }
  }

  /** Removes the name, if it has one, and ends. */
  #release(): Promise<void> {
    return this.#claim?.release() ?? (this.#ending ??= this.#end());
  }

  /** Ends the workers, and then the socket. */
  async #end(): Promise<void> {
    // While the claim keeps other programs' files from being unlinked.
    if (this.#claim !== undefined) this.#socket.leavePath();
    try {
      await this.#crew.drain(this.#timeout);
    } finally {
      this.#socket.close();
      this.#ended.resolve();
    }
  }
}
