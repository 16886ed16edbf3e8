/**
 * One listener of Deno's, from its first accept to its end.
 *
 * - `accept` survives what passes: no descriptor left (`EMFILE`, `ENFILE`), no memory, a client that
 *   gave up. It tries again after a pause that doubles from 5 ms to 1 s, or as soon as
 *   {@linkcode Acceptor.wake} says that a descriptor was freed.
 * - Closing waits for the pending accept: Deno unlinks the path that it bound only with its rejection.
 */

import { delay, turn } from "./delay.ts";
import { attempt, codeOf, systemError } from "./system_error.ts";

const FIRST_PAUSE_MS = 5;
const LAST_PAUSE_MS = 1000;

/** Failures of accept that concern one client or one moment, not the listener. */
const PASSING = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED", "EPROTO"]);

/** How long accepting has to work for an episode of failures to be over. */
const EPISODE_MS = 2 * LAST_PAUSE_MS;

/** Called when accepting pauses: why, and whether this is the first failure of its episode. */
export type OnPause = (error: Error, isFirst: boolean) => void;

/** Accepts from one listener. */
export class Acceptor {
  /** Whether the last attempt to accept failed, and the next one waits. */
  pausing = false;
  /** Whether an accept is pending. */
  accepting = false;
  readonly #listener: Deno.UnixListener;
  readonly #path: string;
  #begun: Promise<Deno.UnixConn> | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  #accepted = 0;
  #closed = false;
  #wake = new AbortController();
  #lastFailure = -Infinity;

  /**
   * @param listener The listener, which is closed with this.
   * @param path The path that clients use, for the errors.
   * @param begun An accept that is pending.
   */
  constructor(listener: Deno.UnixListener, path: string, begun?: Promise<Deno.UnixConn>) {
    this.#listener = listener;
    this.#path = path;
    this.#begun = begun;
    // Its failure is told to whoever accepts next.
    this.#begun?.catch(() => {});
  }

  /**
   * Accepts one connection. One call at a time.
   *
   * @param onPause Is told each failure that passes, and whether it is the first one of its episode.
   */
  accept(onPause?: OnPause): Promise<Deno.UnixConn> {
    this.accepting = true;
    const accepted = this.#accept(onPause).finally(() => this.accepting = false);
    this.#ended = accepted.catch(() => {});
    return accepted;
  }

  async #accept(onPause?: OnPause): Promise<Deno.UnixConn> {
    for (let pause = FIRST_PAUSE_MS;; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
      try {
        const begun = this.#begun ?? this.#listener.accept();
        this.#begun = undefined;
        const conn = await begun;
        this.#accepted++;
        return conn;
      } catch (error) {
        const failure = systemError(attempt("accept", this.#path), error, {
          operation: "accept",
          path: this.#path,
        });
        if (this.#closed || !PASSING.has(codeOf(error) ?? "")) throw failure;
        const now = performance.now();
        this.pausing = true;
        onPause?.(failure, now - this.#lastFailure > EPISODE_MS);
        this.#lastFailure = now;
        this.#wake = new AbortController();
        await delay(pause, this.#wake.signal).catch(() => {});
        this.pausing = false;
      }
    }
  }

  /** Ends the pause of an accept that failed: there may be a free descriptor now. */
  wake(): void {
    this.#wake.abort();
  }

  /**
   * Resolves when nobody has come for so many turns of the loop, and for so long. Somebody else accepts
   * meanwhile, without a pause.
   *
   * @param turns How many; asked again at each turn.
   * @param ms Milliseconds.
   * @param signal Ends the waiting.
   */
  async quiet(turns: () => number, ms: number, signal: AbortSignal): Promise<void> {
    let count = 0;
    let seen = this.#accepted;
    let since = performance.now();
    while (!signal.aborted && (count < turns() || performance.now() - since < ms)) {
      await turn();
      if (this.#accepted === seen && !this.pausing) {
        count++;
      } else {
        count = 0;
        seen = this.#accepted;
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
    await this.#begun?.then((conn) => conn.close(), () => {});
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }
}
