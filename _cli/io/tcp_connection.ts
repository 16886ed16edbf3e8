/** A connection of TCP that loses nothing when it closes. */

import { onAbort } from "../../_internal/base/event_loop.ts";
import { SilenceTimer } from "../../_internal/base/silence.ts";
import { type ByteStream, writeAll } from "./byte_stream.ts";

/** How long, in milliseconds, a closing peer may be silent, and how long it may go on sending. */
const LINGER_SILENCE_MS = 5000;
const LINGER_MS = 30_000;

/**
 * A connection of TCP.
 *
 * Closing while the peer still sends would reset the connection, and the kernel would drop what the
 * peer has not read. So what the peer sends is read and dropped first, up to its end of file.
 */
export class TcpConnection implements ByteStream {
  readonly #conn: Deno.TcpConn;
  readonly #cut: AbortSignal;
  readonly #forget: () => void;
  readonly #closed = Promise.withResolvers<void>();
  #readEnded = false;
  #writeEnded = false;
  #state: "open" | "closing" | "closed" = "open";

  /** @param cut Closes it at once. */
  constructor(conn: Deno.TcpConn, cut: AbortSignal) {
    this.#conn = conn;
    this.#cut = cut;
    this.#forget = onAbort(cut, () => this.#dispose());
  }

  /** Resolves when the descriptor is closed. */
  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    let count: number | null = null;
    try {
      return count = await this.#conn.read(buffer);
    } finally {
      if (count === null) this.#readEnded = true;
    }
  }

  write(data: Uint8Array): Promise<number> {
    return writeAll(this.#conn, data);
  }

  async closeWrite(): Promise<void> {
    this.#writeEnded = true;
    try {
      await this.#conn.closeWrite();
    } catch (error) {
      // The peer closed, so the direction has ended.
      if (!(error instanceof Deno.errors.NotConnected)) throw error;
    }
  }

  close(): void {
    if (this.#state !== "open") return;
    this.#state = "closing";
    if (this.#writeEnded && !this.#readEnded && !this.#cut.aborted) this.#linger();
    else this.#dispose();
  }

  async #linger(): Promise<void> {
    const silence = new SilenceTimer(() => this.#dispose());
    const end = performance.now() + LINGER_MS;
    const buffer = new Uint8Array(16 * 1024);
    try {
      do silence.start(LINGER_SILENCE_MS); while (
        await this.#conn.read(buffer) !== null && performance.now() < end
      );
    } catch {
      // It was reset, or closed.
    }
    silence.stop();
    this.#dispose();
  }

  #dispose(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#forget();
    this.#conn[Symbol.dispose]();
    this.#closed.resolve();
  }
}
