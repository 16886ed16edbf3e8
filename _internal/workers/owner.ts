/** The owner of a path that workers serve. It holds the listening socket, and accepts nothing. */

import type { UnixAddr } from "../../address.ts";
import type { SocketClaim } from "../../claim.ts";
import type { ShutdownOptions, ShutdownResult } from "../../server.ts";
import type { WorkerServer, WorkersStatistics } from "../../workers.ts";
import { checkOptions, type Checks, duration } from "../base/check.ts";
import { onAbort } from "../base/event_loop.ts";
import { handled } from "../base/rejection.ts";
import type { ChildProcess } from "../child/process.ts";
import { HeldSocket } from "../descriptor/held_socket.ts";
import { Crew, type CrewOptions } from "./crew.ts";

/** What an owner needs. */
export interface OwnerOptions extends Omit<CrewOptions, "start"> {
  /** Starts the process of a worker, with the descriptor of the socket. */
  readonly start: (fd: number, signal: AbortSignal) => Promise<ChildProcess>;
}

const SHUTDOWN_CHECKS: Checks<ShutdownOptions> = { timeout: duration() };

const DEFAULT_TIMEOUT_MS = 5000;

/** The implementation of `WorkerServer`. */
export class Owner implements WorkerServer {
  readonly addr: UnixAddr;
  readonly finished: Promise<void>;
  readonly #claim: SocketClaim;
  readonly #socket: HeldSocket;
  readonly #crew: Crew;
  readonly #ended = Promise.withResolvers<void>();
  #timeout = DEFAULT_TIMEOUT_MS;
  #shutdown: Promise<ShutdownResult> | undefined;

  private constructor(claim: SocketClaim, socket: HeldSocket, options: OwnerOptions) {
    this.addr = { transport: "unix", path: claim.path };
    this.#claim = claim;
    this.#socket = socket;
    this.#crew = new Crew({ ...options, start: (signal) => options.start(socket.fd, signal) });
    this.finished = handled(this.#ended.promise.then(() => claim.release()));
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
    await claim.bind((path) => {
      const socket = new HeldSocket(path);
      owner = new Owner(claim, socket, options);
      // The claim disposes of this when it has removed the name.
      const server: AsyncDisposable = { [Symbol.asyncDispose]: () => owner.#end() };
      try {
        socket.listen();
      } catch (error) {
        socket.leavePath();
        socket.close();
        throw error;
      }
      return server;
    });
    const stop = onAbort(signal, () => owner.#abandon());
    try {
      await owner.#crew.start();
      signal?.throwIfAborted();
    } catch (error) {
      await owner.#abandon();
      signal?.throwIfAborted();
      throw error;
    } finally {
      stop();
    }
    owner.finished.finally(onAbort(signal, () => handled(owner.shutdown()))).catch(() => {});
    return owner;
  }

  reload(): Promise<void> {
    return this.#crew.reload();
  }

  async statistics(): Promise<WorkersStatistics> {
    return { workers: await this.#crew.figures(), lost: this.#crew.lost };
  }

  shutdown(options: ShutdownOptions = {}): Promise<ShutdownResult> {
    try {
      checkOptions("shutdown", options, SHUTDOWN_CHECKS);
    } catch (error) {
      return Promise.reject(error);
    }
    this.#timeout = options.timeout ?? DEFAULT_TIMEOUT_MS;
    return this.#shutdown ??= this.#leave();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.shutdown();
  }

  async #leave(): Promise<ShutdownResult> {
    if (this.#crew.size === 0) this.#socket.refuse();
    await this.#claim.release();
    return await this.#crew.drain(this.#timeout);
  }

  /** Ends without serving the clients that wait. */
  async #abandon(): Promise<void> {
    this.#socket.refuse();
    await this.#crew.drain(0);
    await this.#claim.release();
  }

  /** Ends the workers, and then the socket. */
  async #end(): Promise<void> {
    // While the claim keeps other programs' files from being unlinked.
    this.#socket.leavePath();
    await this.#crew.drain(this.#timeout);
    this.#socket.close();
    this.#ended.resolve();
  }
}
