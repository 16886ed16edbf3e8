/**
 * Everyone who connects to a path, one after the other, from however many listeners it has.
 *
 * - The current listener is asked only when somebody waits for a connection: till then the kernel's
 *   backlog holds whoever comes.
 * - A listener that is being emptied is asked all the time: it has no name any more, and is to be closed
 *   once nobody comes to it. Whoever comes that way before somebody asks waits here.
 */

import { Acceptor, type OnPause } from "./acceptor.ts";
import type { Candidate, SelfConnection } from "./self_connection.ts";
import { attempt, systemError } from "./system_error.ts";

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
  #onPause: OnPause | undefined;
  #isReferenced = true;
  #isClosed = false;
  /** Nobody will ask for a connection any more. */
  #isAbandoned = false;

  /**
   * @param path The path that clients use, for the errors.
   * @param listener Its listener.
   * @param own What is left of a connection of our own to it.
   */
  constructor(path: string, listener: Deno.UnixListener, own?: SelfConnection) {
    this.#path = path;
    this.#current = new Acceptor(listener, path, own?.accepting);
    if (own !== undefined) this.#early.push(...own.later);
  }

  /** The listener that has the name. */
  get current(): Acceptor {
    return this.#current;
  }

  /**
   * Gives the next connection. One call at a time.
   *
   * @param onPause Is told each failure to accept that passes.
   */
  next(onPause?: OnPause): Promise<Accepted> {
    this.#onPause = onPause;
    const early = this.#early.shift();
    if (early !== undefined) return Promise.resolve(early);
    if (this.#isClosed) return Promise.reject(this.#closedError());
    this.#waiting = Promise.withResolvers();
    this.#pull(this.#current);
    return this.#waiting.promise;
  }

  /** Puts another listener in the place of the current one, and gives that one back. */
  renew(listener: Deno.UnixListener, own?: SelfConnection): Acceptor {
    const old = this.#current;
    this.#current = new Acceptor(listener, this.#path, own?.accepting);
    if (!this.#isReferenced) listener.unref();
    for (const candidate of own?.later ?? []) this.#deliver(candidate);
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

  /** Makes sure that an accept is pending on a listener. */
  #pull(acceptor: Acceptor): void {
    if (acceptor.accepting) return;
    acceptor.accept((error, isFirst) => this.#onPause?.(error, isFirst)).then(
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
