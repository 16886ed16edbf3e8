/**
 * Everyone who connects to a path, one after the other, from however many listeners it has.
 *
 * - The current listener is asked only when somebody waits for a connection: till then the kernel's
 *   backlog holds whoever comes.
 * - A listener that is being emptied is asked all the time: it has no name any more, and is to be closed
 *   once nobody comes to it. Whoever comes that way before somebody asks waits here.
 */

import type { Acceptor, OnFailure } from "./acceptor.ts";
import type { Candidate, SelfConnection } from "./marker.ts";
import { attempt, systemError } from "../base/failure.ts";

/** An accepted connection, of which a little may have been read already. */
export type Accepted = Pick<Candidate, "conn"> & Partial<Candidate>;

/** The connections to a path. */
export class AcceptQueue {
  readonly #path: string;
  #current: Acceptor;
  readonly #emptied = new Set<Acceptor>();
  /** Those who were accepted before anybody asked for a connection. */
  readonly #early: Accepted[] = [];
  /** The call that waits for a connection. */
  #waiting: PromiseWithResolvers<Accepted> | undefined;
  #onFailure: OnFailure | undefined;
  #isReferenced = true;
  #isClosed = false;
  /** Nobody will ask for a connection any more. */
  #isAbandoned = false;

  /**
   * @param path The path that clients use, for the errors.
   * @param acceptor Its listener.
   * @param own What is left of a connection of our own to it.
   */
  constructor(path: string, acceptor: Acceptor, own?: SelfConnection) {
    this.#path = path;
    this.#current = acceptor;
    this.#add(acceptor, own);
  }

  /** The listener that has the name. */
  get current(): Acceptor {
    return this.#current;
  }

  /** Whether it was closed, and not only has failed. */
  get isClosed(): boolean {
    return this.#isClosed;
  }

  /**
   * Gives the next connection. One call at a time.
   *
   * @param onFailure Is told each failure to accept that it survives.
   */
  next(onFailure?: OnFailure): Promise<Accepted> {
    this.#onFailure = onFailure;
    const early = this.#early.shift();
    if (early !== undefined) return Promise.resolve(early);
    if (this.#isClosed) return Promise.reject(this.#closedError());
    this.#waiting = Promise.withResolvers();
    this.#pull(this.#current);
    return this.#waiting.promise;
  }

  /** Puts another listener in the place of the current one, and gives that one back. */
  renew(acceptor: Acceptor, own?: SelfConnection): Acceptor {
    const old = this.#current;
    this.#current = acceptor;
    if (!this.#isReferenced) acceptor.unref();
    this.#add(acceptor, own);
    if (this.#waiting !== undefined) this.#pull(this.#current);
    return old;
  }

  /** Accepts everyone who comes to a listener, whether somebody asks or not. */
  empty(acceptor: Acceptor): void {
    this.#emptied.add(acceptor);
    this.#pull(acceptor);
  }

  /** Lets go of a listener that has been emptied, and closed. */
  forget(acceptor: Acceptor): void {
    this.#emptied.delete(acceptor);
  }

  /** Ends the pause of an accept that failed: there may be a free descriptor now. */
  wake(): void {
    this.#current.wake();
    for (const acceptor of this.#emptied) acceptor.wake();
  }

  /** From now on there are only those who have come already. */
  close(): void {
    this.#isClosed = true;
    this.wake();
  }

  /** Drops whoever has come already and whoever still comes. */
  abandon(): void {
    this.#isAbandoned = true;
    for (const { conn } of this.#early.splice(0)) conn.close();
  }

  ref(): void {
    this.#isReferenced = true;
    this.#current.ref();
  }

  unref(): void {
    this.#isReferenced = false;
    this.#current.unref();
  }

  /** Takes over a listener, with what is left of a connection of our own to it. */
  #add(acceptor: Acceptor, own: SelfConnection | undefined): void {
    acceptor.onFailure = (error, isFirst) => this.#onFailure?.(error, isFirst);
    for (const candidate of own?.later ?? []) this.#deliver(candidate);
    if (own !== undefined) this.#take(acceptor, own.accepting);
  }

  /** Makes sure that an accept is pending on a listener. */
  #pull(acceptor: Acceptor): void {
    if (!acceptor.accepting) this.#take(acceptor, acceptor.accept());
  }

  #take(acceptor: Acceptor, accepting: Promise<Deno.UnixConn>): void {
    accepting.then(
      (conn) => {
        this.#deliver({ conn });
        if (this.#emptied.has(acceptor)) this.#pull(acceptor);
      },
      (error) => {
        // The other one goes on.
        if (acceptor !== this.#current) return;
        this.#waiting?.reject(this.#isClosed ? this.#closedError() : error);
        this.#waiting = undefined;
      },
    );
  }

  #deliver(accepted: Accepted): void {
    if (this.#waiting !== undefined) {
      this.#waiting.resolve(accepted);
      this.#waiting = undefined;
    } else if (this.#isAbandoned) {
      accepted.conn.close();
    } else {
      this.#early.push(accepted);
    }
  }

  #closedError(): Error {
    const cause = new Deno.errors.BadResource("Listener has been closed");
    const fields = { operation: "accept", path: this.#path };
    return systemError(attempt("accept", this.#path), cause, fields, "the listener was closed");
  }
}
