/**
 * The clients of one path, in order, from one listener or several.
 *
 * - The current listener accepts only when a caller waits for a connection. Until then the kernel's
 *   backlog holds the clients.
 * - A listener that is being emptied accepts all the time: it has lost its name and closes soon.
 *   Clients that come from it before a caller asks wait in this queue.
 *
 * ```text
 * open ──close()──▶ closed ──dropAll()──▶ dropping
 *   └────────────────dropAll()───────────────▲
 * ```
 */

import {
  type AcceptedSocket,
  type Acceptor,
  type Failing,
  NAMELESS,
  type OnFailure,
} from "./acceptor.ts";
import type { Accepted, Marker } from "./marker.ts";

/** A listener, and what is left of a marker in its backlog. */
export interface Bound extends Partial<Pick<Marker, "behind" | "accepting">> {
  acceptor: Acceptor<AcceptedSocket>;
}

/** The connections to a path. */
export class AcceptQueue {
  /** Called for each failure that accepting survives. */
  onFailure: OnFailure | undefined;
  /** The listener that has the name. */
  current: Acceptor<AcceptedSocket>;
  readonly #context: Failing;
  readonly #emptied = new Set<Acceptor<AcceptedSocket>>();
  /** Connections that came before a caller asked. */
  readonly #early: Accepted[] = [];
  /** Calls that wait for a connection. */
  readonly #waiting: PromiseWithResolvers<Accepted>[] = [];
  #isReferenced = true;
  #state: "open" | "closed" | "dropping" = "open";

  /**
   * @param context Makes the errors.
   * @param bound The listener.
   */
  constructor(context: Failing, bound: Bound) {
    this.#context = context;
    this.current = bound.acceptor;
    this.#add(bound);
  }

  /** Whether it was closed. A listener that failed is not closed. */
  get isClosed(): boolean {
    return this.#state !== "open";
  }

  /** Returns the next connection. Several calls may wait: the first one is served first. */
  next(): Promise<Accepted> {
    const early = this.#early.shift();
    if (early !== undefined) return Promise.resolve(early);
    if (this.isClosed) return Promise.reject(this.#closedError());
    const waiting = Promise.withResolvers<Accepted>();
    this.#waiting.push(waiting);
    this.#pull(this.current);
    return waiting.promise;
  }

  /** Replaces the current listener, and returns the old one. */
  replace(bound: Bound): Acceptor<AcceptedSocket> {
    const old = this.current;
    this.current = bound.acceptor;
    if (!this.#isReferenced) this.current.listener.unref();
    this.#add(bound);
    if (this.#waiting.length > 0) this.#pull(this.current);
    return old;
  }

  /**
   * Accepts every client of a listener that has lost its name. Resolves when no client has come for
   * long enough. Close the listener then.
   *
   * @param signal Ends the wait.
   */
  async empty(acceptor: Acceptor<AcceptedSocket>, signal: AbortSignal): Promise<void> {
    this.#emptied.add(acceptor);
    this.#pull(acceptor);
    await acceptor.waitUntilIdle(NAMELESS, signal);
  }

  /** Ends the pause after a failure, because a descriptor may be free. */
  wake(): void {
    this.current.wake();
    for (const acceptor of this.#emptied) acceptor.wake();
  }

  /** Keeps the connections that have come, and accepts no more. */
  close(): void {
    if (this.#state === "open") this.#state = "closed";
    this.wake();
  }

  /** Drops the connections that have come and those that still come. */
  dropAll(): void {
    this.#state = "dropping";
    for (const { conn } of this.#early.splice(0)) conn.close();
  }

  ref(): void {
    this.#isReferenced = true;
    this.current.listener.ref();
  }

  unref(): void {
    this.#isReferenced = false;
    this.current.listener.unref();
  }

  #add({ acceptor, behind = [], accepting }: Bound): void {
    acceptor.onFailure = (error, isFirst) => this.onFailure?.(error, isFirst);
    for (const accepted of behind) this.#deliver(accepted);
    if (accepting !== undefined) this.#take(acceptor, accepting);
  }

  /** Ensures that an accept is pending on a listener. */
  #pull(acceptor: Acceptor<AcceptedSocket>): void {
    if (!acceptor.accepting) this.#take(acceptor, acceptor.accept());
  }

  #take(acceptor: Acceptor<AcceptedSocket>, accepting: Promise<AcceptedSocket>): void {
    accepting.then(
      (conn) => {
        this.#deliver({ conn });
        const isWanted = acceptor === this.current && this.#waiting.length > 0;
        if (isWanted || this.#emptied.has(acceptor)) this.#pull(acceptor);
      },
      (error) => {
        this.#emptied.delete(acceptor);
        // The current listener goes on.
        if (acceptor !== this.current) return;
        const failure = this.isClosed ? this.#closedError() : error;
        for (const { reject } of this.#waiting.splice(0)) reject(failure);
      },
    );
  }

  #deliver(accepted: Accepted): void {
    const waiting = this.#waiting.shift();
    if (waiting !== undefined) waiting.resolve(accepted);
    else if (this.#state === "dropping") accepted.conn.close();
    else this.#early.push(accepted);
  }

  #closedError(): Error {
    const cause = new Deno.errors.BadResource("Listener has been closed");
    return this.#context.fail(cause, "the listener was closed");
  }
}
