/**
 * One listener of Deno's, from its first accept to its end.
 *
 * - `accept` survives every failure but the loss of the listener's own descriptor. A failure costs at
 *   most one client: the next attempt follows at once.
 * - Where attempts fail one after the other it pauses between them, from 5 ms to 100 ms. A pause ends
 *   early when {@linkcode Acceptor.wake} is called, because a descriptor may be free.
 * - Closing waits for the pending accept: Deno unlinks the path that it bound only with its rejection.
 */

import { delay, turn } from "../base/event_loop.ts";
import { attempt, codeOf, systemError } from "../base/failure.ts";

const FIRST_PAUSE_MS = 5;
const LAST_PAUSE_MS = 100;

/** The descriptor is gone, or does not listen. Deno calls EOPNOTSUPP `ENOTSUP`. */
const LOST = new Set(["EBADF", "EINVAL", "ENOTSOCK", "ENOTSUP", "EOPNOTSUPP"]);

/** Deno says that a listener is closed for EINTR as well: it is believed after so many times in a row. */
const MAX_CLOSED_ANSWERS = 10;

/** How long accepting has to work for an episode of failures to be over. */
const EPISODE_MS = 2000;

/** Called when an attempt to accept has failed, and whether it is the first failure of its episode. */
export type OnFailure = (error: Error, isFirst: boolean) => void;

/** Says in the shape of an error what an attempt to accept met. */
export type Explain = (cause: unknown, state?: string) => Error;

/** What it takes of a listener. */
export interface Listening<Conn> {
  accept(): Promise<Conn>;
  close(): void;
  ref(): void;
  unref(): void;
}

/** Accepts from one listener. */
export class Acceptor<Conn = Deno.UnixConn> {
  /** Whether the last attempt to accept failed, and the next one waits. */
  pausing = false;
  /** Whether an accept is pending. */
  accepting = false;
  /** Is told each failure that accepting survives. */
  onFailure: OnFailure | undefined;
  readonly #listener: Listening<Conn>;
  readonly #explain: Explain;
  readonly #lastFailures = new Map<string, number>();
  #ended: Promise<unknown> = Promise.resolve();
  /** How many clients have left the backlog. */
  #taken = 0;
  #closed = false;
  #wake = new AbortController();

  /**
   * @param listener The listener, which is closed with this.
   * @param explain Makes the errors.
   */
  constructor(listener: Listening<Conn>, explain: Explain) {
    this.#listener = listener;
    this.#explain = explain;
  }

  /** Accepts one connection. One call at a time. */
  accept(): Promise<Conn> {
    this.accepting = true;
    const accepted = this.#accept().finally(() => this.accepting = false);
    this.#ended = accepted.catch(() => {});
    return accepted;
  }

  async #accept(): Promise<Conn> {
    let pause = 0;
    let closedAnswers = 0;
    for (;;) {
      try {
        const conn = await this.#listener.accept();
        this.#taken++;
        return conn;
      } catch (cause) {
        closedAnswers = cause instanceof Deno.errors.BadResource ? closedAnswers + 1 : 0;
        const isLost = LOST.has(codeOf(cause) ?? "") || closedAnswers === MAX_CLOSED_ANSWERS;
        if (this.#closed || isLost) throw this.#explain(cause);
        if (cause instanceof Deno.errors.InvalidData) {
          // Accepted, and dropped by Deno. Each costs a client a connection, so there is no need to pause.
          this.#taken++;
          this.#tell(
            this.#explain(cause, "a client was dropped, because its own path is not UTF-8"),
          );
        } else {
          const state = closedAnswers > 0 ? "the attempt was interrupted" : undefined;
          await this.#pause(pause, this.#explain(cause, state));
          pause = Math.min(2 * pause || FIRST_PAUSE_MS, LAST_PAUSE_MS);
        }
      }
    }
  }

  async #pause(ms: number, failure: Error): Promise<void> {
    this.pausing = ms > 0;
    this.#wake = new AbortController();
    const paused = ms > 0 ? delay(ms, this.#wake.signal).catch(() => {}) : undefined;
    this.#tell(failure);
    await paused;
    this.pausing = false;
  }

  #tell(failure: Error): void {
    const now = performance.now();
    const kind = codeOf(failure) ?? failure.message;
    const isFirst = now - (this.#lastFailures.get(kind) ?? -Infinity) > EPISODE_MS;
    this.#lastFailures.set(kind, now);
    this.onFailure?.(failure, isFirst);
  }

  /** Ends the pause of an accept that failed: there may be a free descriptor now. */
  wake(): void {
    this.#wake.abort();
  }

  /**
   * Resolves when no client has come for so many turns of the loop, and for so long. Another caller
   * accepts meanwhile, without a pause.
   *
   * @param turns How many; asked again at each turn.
   * @param ms Milliseconds.
   * @param signal Ends the waiting.
   */
  async quiet(turns: () => number, ms: number, signal: AbortSignal): Promise<void> {
    let count = 0;
    let seen = this.#taken;
    let since = performance.now();
    while (!signal.aborted && (count < turns() || performance.now() - since < ms)) {
      await turn();
      if (this.#taken === seen && !this.pausing) {
        count++;
      } else {
        count = 0;
        seen = this.#taken;
        since = performance.now();
      }
    }
  }

  /** Closes the listener, and resolves when Deno has unlinked its path. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.wake();
    this.#listener.close();
    await this.#ended;
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }
}

/** Returns what makes the errors of accepting on a path. */
export function explainAccept(path: string): Explain {
  return (cause, state) =>
    systemError(attempt("accept", path), cause, { operation: "accept", path }, state);
}
