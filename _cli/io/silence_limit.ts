/** A limit on the silence of a peer. */

import { attempt } from "../../_internal/base/failure.ts";
import { SilenceTimer } from "../../_internal/base/silence.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import type { ByteStream } from "./byte_stream.ts";

/** Aborts its signal with `TimedOut` after some time of silence. */
export class SilenceLimit implements Disposable {
  readonly #abort = new AbortController();
  readonly #ms: number;
  readonly #timer: SilenceTimer;
  readonly signal: AbortSignal = this.#abort.signal;

  /**
   * @param ms The limit in milliseconds; `Infinity` is not a limit.
   * @param state The error message, before the number of seconds.
   */
  constructor(ms: number, state: string) {
    this.#ms = ms;
    this.#timer = new SilenceTimer(() => {
      this.#abort.abort(new Deno.errors.TimedOut(`${state} ${ms / 1000} s`));
    });
  }

  /** Starts the time, or starts it again. */
  restart(): this {
    if (!this.signal.aborted) this.#timer.start(this.#ms);
    return this;
  }

  /** Stops the time until the next start. */
  pause(): void {
    this.#timer.stop();
  }

  /** Returns a connection with reads and writes that restart the time. */
  watched(conn: ByteStream): ByteStream {
    if (this.#ms === Infinity) return conn;
    const heard = <T>(result: T): T => {
      this.restart();
      return result;
    };
    return {
      read: (buffer) => conn.read(buffer).then(heard),
      write: (data) => conn.write(data).then(heard),
      closeWrite: () => conn.closeWrite(),
      close: () => conn.close(),
    };
  }

  [Symbol.dispose](): void {
    this.pause();
  }
}

/**
 * Starts the limit on how long a server waits.
 *
 * @param path The address of the server.
 * @param ms The limit in milliseconds; 0 is not a limit.
 * @param awaited What is missing, for the message: `no client`.
 */
export function waitLimit(path: SocketPath, ms: number = 0, awaited = "no client"): SilenceLimit {
  const start = attempt("serve", resolveSocketPath(path));
  return new SilenceLimit(ms || Infinity, `${start}: ${awaited} within`).restart();
}

/** Starts the limit of `--idle` for one connection. */
export function idleLimit(ms: number = Infinity): SilenceLimit {
  return new SilenceLimit(ms, "Closed a connection: nothing has passed for").restart();
}
