/**
 * One Deno listener, from its first accept to its end.
 *
 * - `accept` survives every failure but the loss of the listener's descriptor. A failure costs at
 *   most one client: the next attempt follows at once.
 * - After several failures in a row it backs off, for 5 ms to 100 ms. {@linkcode Acceptor.wake}
 *   ends the pause early, because a descriptor may be free.
 * - Closing waits for the pending accept: Deno removes the path that it bound when that accept
 *   rejects.
 */

import { delay, turn } from "../base/event_loop.ts";
import { codeOf } from "../base/failure.ts";
import { beforeAccept, recordAccepted, type TransportListener } from "../connection/native_slot.ts";
import type { FdSocket } from "../descriptor/fd_socket.ts";

const FIRST_PAUSE_MS = 5;
const LAST_PAUSE_MS = 100;

/** The descriptor is gone, or does not listen. Deno calls EOPNOTSUPP `ENOTSUP`. */
const LOST = new Set(["EBADF", "EINVAL", "ENOTSOCK", "ENOTSUP", "EOPNOTSUPP"]);

/**
 * Deno reports EINTR as a closed listener too. After this many such answers in a row, it is closed.
 */
const MAX_CLOSED_ANSWERS = 10;

/** How long accepting must work before the next failure counts as the first of a new episode. */
const EPISODE_MS = 2000;

/**
 * One more turn without a client is needed for this many connections: each takes a part of a turn.
 */
const CONNECTIONS_PER_TURN = 64;

/**
 * Called when an attempt to accept has failed, with whether it is the first failure of its episode.
 */
export type OnFailure = (error: Error, isFirst: boolean) => void;

/**
 * How many turns of the event loop, and for how long, no client may come before a backlog counts as
 * empty.
 */
export interface Idle {
  turns: number;
  ms: number;
}

/**
 * For a listener without a name. Nothing waits for its end, so the wait may be long: in a process
 * busy with 1,600 pairs of its own sockets, an accept was passed over for 302 turns of a few
 * milliseconds each.
 */
export const NAMELESS: Idle = { turns: 1000, ms: 500 };

/** A connection of Deno's listener, of one at a descriptor, or of one with descriptors. */
export type AcceptedSocket =
  | Deno.UnixConn
  | FdSocket
  | Awaited<ReturnType<TransportListener["accept"]>>;

/** The part of a Deno listener that an acceptor uses. */
export interface Listening<Conn> extends Pick<Deno.UnixListener, "close" | "ref" | "unref"> {
  accept(): Promise<Conn>;
}

/** Makes the errors of an acceptor: an error context, for a listener on a path. */
export interface Failing {
  fail(cause: unknown, state?: string): Error;
}

/** Accepts from one listener. */
export class Acceptor<Conn = Deno.UnixConn> {
  /** Whether an accept is pending. */
  accepting = false;
  /** Called for each failure that accepting survives. */
  onFailure: OnFailure | undefined;
  readonly listener: Listening<Conn>;
  readonly #context: Failing;
  readonly #lastFailures = new Map<string, number>();
  #ended: Promise<unknown> = Promise.resolve();
  /** How many clients have left the backlog. */
  #taken = 0;
  #closed = false;
  /** Ends the pause after a failure, while there is one. */
  #pause: AbortController | undefined;

  /**
   * @param listener The listener. Closing the acceptor closes it.
   * @param context Makes the errors.
   */
  constructor(listener: Listening<Conn>, context: Failing) {
    this.listener = listener;
    this.#context = context;
  }

  /** Whether the last attempt to accept failed, and the next one waits. */
  get backingOff(): boolean {
    return this.#pause !== undefined;
  }

  /** Accepts one connection. One call at a time. */
  accept(): Promise<Conn> {
    const accepted = this.#accept();
    return this.#ended = accepted;
  }

  async #accept(): Promise<Conn> {
    this.accepting = true;
    let pause = 0;
    let closedAnswers = 0;
    for (;;) {
      try {
        const since = beforeAccept();
        const conn = await this.listener.accept();
        recordAccepted(conn, since);
        this.#taken++;
        this.accepting = false;
        return conn;
      } catch (cause) {
        closedAnswers = cause instanceof Deno.errors.BadResource ? closedAnswers + 1 : 0;
        const isLost = LOST.has(codeOf(cause) ?? "") || closedAnswers === MAX_CLOSED_ANSWERS;
        if (this.#closed || isLost) {
          this.accepting = false;
          throw this.#context.fail(cause);
        }
        if (cause instanceof Deno.errors.InvalidData) {
          // Deno accepted the client and dropped it. Each failure costs a connection, so no pause
          // is needed.
          this.#taken++;
          const state = "a client was dropped, because its own path is not UTF-8";
          this.#report(this.#context.fail(cause, state));
        } else {
          const state = closedAnswers > 0 ? "the attempt was interrupted" : undefined;
          await this.#backOff(pause, this.#context.fail(cause, state));
          pause = Math.min(2 * pause || FIRST_PAUSE_MS, LAST_PAUSE_MS);
        }
      }
    }
  }

  async #backOff(ms: number, failure: Error): Promise<void> {
    this.#pause = ms > 0 ? new AbortController() : undefined;
    const paused = this.#pause && delay(ms, this.#pause.signal).catch(() => {});
    this.#report(failure);
    await paused;
    this.#pause = undefined;
  }

  #report(failure: Error): void {
    const now = performance.now();
    const kind = codeOf(failure) ?? failure.message;
    const isFirst = now - (this.#lastFailures.get(kind) ?? -Infinity) > EPISODE_MS;
    this.#lastFailures.set(kind, now);
    this.onFailure?.(failure, isFirst);
  }

  /** Ends the pause after a failure, because a descriptor may be free. */
  wake(): void {
    this.#pause?.abort();
  }

  /**
   * Resolves when no client has come for long enough. Another caller must accept meanwhile, without
   * a pause.
   *
   * @param idle How long that is.
   * @param signal Ends the wait.
   * @param connections Returns how many connections of the process are open.
   */
  async waitUntilIdle(
    idle: Idle,
    signal: AbortSignal,
    connections = (): number => 0,
  ): Promise<void> {
    let turns = 0;
    let seen = this.#taken;
    let since = performance.now();
    const isIdle = () =>
      turns >= idle.turns + Math.ceil(connections() / CONNECTIONS_PER_TURN) &&
      performance.now() - since >= idle.ms;
    while (!signal.aborted && !isIdle()) {
      await turn();
      if (this.#taken === seen && !this.backingOff) {
        turns++;
      } else {
        turns = 0;
        seen = this.#taken;
        since = performance.now();
      }
    }
  }

  /** Closes the listener. Resolves when Deno has removed its path. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.wake();
    this.listener.close();
    await this.#ended.catch(() => {});
  }
}
