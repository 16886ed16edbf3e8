/** A limit on how long a server may be silent while it is being sent something, or has an answer to send. */

import { SilenceTimer } from "../../_internal/base/silence.ts";
import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { probe } from "../../probe.ts";
import { mayReadProc, readProc } from "./proc.ts";
import { shownPath } from "../parse/parameters.ts";

/** The limit for one connection, which is closed when it is over. */
export class AnswerLimit implements Disposable {
  readonly #conn: Connection;
  readonly #path: SocketPath;
  readonly #ms: number;
  readonly #timer: SilenceTimer;
  #isRunning = false;
  #isOver = false;

  /** @param ms Milliseconds of silence; no limit by default. */
  constructor(conn: Connection, path: SocketPath, ms: number = Infinity) {
    this.#conn = conn;
    this.#path = path;
    this.#ms = ms;
    this.#timer = new SilenceTimer(() => {
      this.#isOver = true;
      this.#conn.close();
    });
  }

  /** Waits for the server from now on. */
  start(): void {
    this.#isRunning = true;
    this.heard();
  }

  /** Counts anew, if the server is waited for. */
  heard(): void {
    if (this.#isRunning) this.#timer.start(this.#ms);
  }

  /** Stops counting: it is our turn. */
  pause(): void {
    this.#timer.stop();
  }

  /** Waits for something else than the server. */
  stop(): void {
    this.#isRunning = false;
    this.#timer.stop();
  }

  /** Replaces the failure of a connection that was closed because the limit is over. */
  async explain(error: unknown): Promise<unknown> {
    if (!this.#isOver) return error;
    const stopped = mayReadProc() ? await stoppedHolder(this.#path) : undefined;
    const state = stopped === undefined ? "" : `. Its process ${stopped} is stopped`;
    return new Deno.errors.TimedOut(
      `Got no answer from ${JSON.stringify(shownPath(this.#path))} within ${
        this.#ms / 1000
      } s${state}`,
    );
  }

  [Symbol.dispose](): void {
    this.stop();
  }
}

/** Returns the process that has the path, if it is stopped. */
async function stoppedHolder(path: SocketPath): Promise<number | undefined> {
  try {
    const { holder } = await probe(path);
    const stat = holder === undefined ? undefined : readProc(`${holder}/stat`);
    // The name of the program, in parentheses, may contain parentheses and spaces.
    return stat !== undefined && /\) [Tt][^)]*$/.test(stat) ? holder : undefined;
  } catch {
    return undefined;
  }
}
