/**
 * A listener of node:net at a descriptor. It passes one client to each call.
 *
 * - node:net accepts without being asked. Its handle therefore passes a client only while a call
 *   waits. The clients that Deno has accepted ahead, a few dozen at most, stay in the handle.
 * - After one failed accept, Deno never accepts there again, and reports nothing. A call that looks
 *   like a read makes it accept once more.
 */

import { turn } from "../base/event_loop.ts";
import type { FdSocket } from "./fd_socket.ts";

/** How often Deno is made to accept once more, as long as the longest pause of an acceptor. */
const POKE_MS = 100;

/** The part of a handle that makes Deno accept. */
interface Pokeable {
  readStart(): number;
  readStop(): number;
}

/** A listener at a descriptor. One call may wait at a time. */
export abstract class PokedListener {
  readonly #handle: Pokeable;
  readonly #poking: ReturnType<typeof setInterval>;
  /** Clients that came without a call, when it retires. */
  readonly #early: FdSocket[] = [];
  #waiting: PromiseWithResolvers<FdSocket> | undefined;
  #isRetiring = false;
  #isListening = true;
  #isClosed = false;

  protected constructor(handle: Pokeable) {
    this.#handle = handle;
    this.#poking = setInterval(() => this.#look(), POKE_MS);
    Deno.unrefTimer(this.#poking);
  }

  accept(): Promise<FdSocket> {
    const early = this.#early.shift();
    if (early !== undefined) return Promise.resolve(early);
    if (this.#isClosed) return Promise.reject(closedError());
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    this.waitBegins();
    this.#poke();
    return promise;
  }

  /**
   * Accepts no more, and leaves the backlog to others. Resolves when the clients are taken that
   * Deno has accepted ahead. Another caller must accept meanwhile.
   */
  async retire(): Promise<void> {
    this.#isRetiring = true;
    this.#poke();
    // Deno then passes all of them in one turn, and accepts before that at most.
    await turn();
    await turn();
    this.#endListening();
    while (this.#early.length > 0) await turn();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#endListening();
    for (const socket of this.#early.splice(0)) socket.close();
    this.fail(closedError());
  }

  /** Called when a call begins to wait. */
  protected waitBegins(): void {}

  /** Called when no call waits any more. */
  protected waitEnds(): void {}

  /** Returns the failure, if this process has no descriptor left for a client. */
  protected abstract lackOfDescriptors(): unknown;

  /** Closes the handle. */
  protected abstract endListening(): void;

  protected get isListening(): boolean {
    return this.#isListening;
  }

  protected get isWaiting(): boolean {
    return this.#waiting !== undefined;
  }

  /** Whether the handle may pass a client. */
  protected get takesClient(): boolean {
    return this.isWaiting || this.#isRetiring;
  }

  /** Passes a client to the call that waits. */
  protected deliver(socket: FdSocket): void {
    const waiting = this.#settle();
    if (waiting === undefined) this.#early.push(socket);
    else waiting.resolve(socket);
  }

  /** Rejects the call that waits. */
  protected fail(error: unknown): void {
    this.#settle()?.reject(error);
  }

  /** Accepts once more, or fails if this process has no descriptor left for a client. */
  #look(): void {
    if (!this.isWaiting) return;
    this.#poke();
    const failure = this.lackOfDescriptors();
    if (failure !== undefined) this.fail(failure);
  }

  /** Makes Deno accept, and pass a client that it has accepted ahead. */
  #poke(): void {
    if (!this.#isListening) return;
    this.#handle.readStart();
    this.#handle.readStop();
  }

  #endListening(): void {
    if (!this.#isListening) return;
    this.#isListening = false;
    clearInterval(this.#poking);
    this.endListening();
  }

  /** Ends the wait of a call, and returns its promise. */
  #settle(): PromiseWithResolvers<FdSocket> | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    this.waitEnds();
    return waiting;
  }
}

function closedError(): Error {
  return new Deno.errors.BadResource("Listener has been closed");
}
