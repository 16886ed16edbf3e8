/** Pipes standard input to a connection, and what the peer sends to standard output. */

import { delay, onAbort } from "../../_internal/base/event_loop.ts";
import { isPeerClosed } from "../../_internal/base/peer_closed.ts";
import type { Connection } from "../../connection.ts";
import { print } from "./output.ts";
import type { SilenceLimit } from "./silence_limit.ts";
import { BUFFER_SIZE, type Peekable } from "./stdin.ts";

/** How often, in milliseconds, to check that a peer that ended its direction still reads. */
const PRESENCE_MS = 200;

/** A connection as {@linkcode pipeStdio} uses it: a stream of bytes or of messages. */
export interface Wire {
  readonly conn: Pick<Connection, "close" | "write">;
  /** What ends: the connection itself, or a channel over it. */
  readonly channel: Pick<Connection, "closeWrite" | "close">;
  /** What the peer sends, until its end of file. */
  readonly incoming: AsyncIterable<Uint8Array>;
  /** Sends an item of the source. Resolves when its memory can be reused. */
  send(item: Uint8Array): Promise<unknown>;
  /** Prints an item that the peer sent. */
  print(item: Uint8Array): Promise<void>;
}

/** Options of {@linkcode pipeStdio}. */
export interface PipeOptions {
  /** Ends the source when it aborts. */
  signal?: AbortSignal | undefined;
  /** How long, in milliseconds, the peer may go on after the signal. No limit by default. */
  graceMs?: number | undefined;
  /** How long the peer may be silent while it has something to read or to answer. */
  limit?: SilenceLimit | undefined;
  /** How many items to receive, at most. */
  expect?: number | undefined;
  /** How long, in milliseconds, to wait for the expected items. */
  timeout?: number | undefined;
}

/** Returns a connection as a stream of bytes, of which at most `size` are read at once. */
export function bytesOf(conn: Connection, size: number = BUFFER_SIZE): Wire {
  return {
    conn,
    channel: conn,
    incoming: read(),
    // An empty write would check whether the peer still reads, and the peer need not.
    send: async (chunk) => chunk.length > 0 && await conn.write(chunk),
    print,
  };

  async function* read(): AsyncGenerator<Uint8Array> {
    const buffer = new Uint8Array(size);
    for (let count; (count = await conn.read(buffer)) !== null;) yield buffer.subarray(0, count);
  }
}

/**
 * Pipes a source to a connection, and what the peer sends to standard output. Closes the
 * connection.
 *
 * - **End of the source**: it half-closes the connection, and goes on receiving until the peer
 *   ends. With `expect` it does not half-close: many servers treat that as a client that left.
 * - **End of file of the peer**: the rest of the source is still sent. A peer that closed is
 *   noticed even when there is nothing to send.
 * - **Reset**: it prints everything that was received, and then rejects.
 * - **Backpressure**: it holds one item in each direction.
 *
 * @throws {Deno.errors.TimedOut} when the expected items do not arrive in time.
 * @throws {Error} when the peer ends before it sent all expected items.
 */
export async function pipeStdio(
  wire: Wire,
  source: Peekable<Uint8Array>,
  { signal, graceMs, limit, expect = Infinity, timeout }: PipeOptions = {},
): Promise<void> {
  const over = new AbortController();
  const stop = () => over.abort();
  let grace: ReturnType<typeof setTimeout> | undefined;
  const forget = onAbort(signal, () => {
    stop();
    if (graceMs !== undefined) grace = setTimeout(() => wire.conn.close(), graceMs);
  });
  let count = 0;
  /** Why this side closed the connection. */
  let reason: unknown;
  const closeFor = (error: unknown) => {
    reason ??= error;
    wire.conn.close();
  };
  limit?.signal.addEventListener("abort", () => closeFor(limit.signal.reason));
  /** Whether the peer has something to read or to answer. */
  let isWaiting = false;
  const wait = (isNow: boolean) => {
    isWaiting = isNow;
    if (isWaiting) limit?.restart();
    else limit?.pause();
  };
  const timer = expect === Infinity || timeout === undefined ? undefined : setTimeout(() => {
    const state = `Got ${count} of ${expect} messages within ${timeout / 1000} s`;
    closeFor(new Deno.errors.TimedOut(state));
  }, timeout);

  const sent = send();
  // Awaited below, when the other direction has ended.
  sent.catch(() => {});
  try {
    for await (const item of wire.incoming) {
      limit?.pause();
      await wire.print(item);
      if (isWaiting) limit?.restart();
      if (++count >= expect) return;
    }
    limit?.pause();
    if (reason !== undefined) throw reason;
    if (expect < Infinity) throw new Error(`Got ${count} of ${expect} messages, and then the end`);
    let reset: unknown;
    readerGone(wire.conn, over.signal).then((error) => {
      if (error instanceof Deno.errors.ConnectionReset) reset = error;
      stop();
    });
    await sent;
    if (reset !== undefined) throw reset;
  } catch (error) {
    throw reason ?? error;
  } finally {
    clearTimeout(timer);
    clearTimeout(grace);
    stop();
    forget();
    wire.channel.close();
    // Until it has ended, it could take an item of the next client.
    await sent.catch(() => {});
  }

  async function send(): Promise<void> {
    for (;;) {
      const item = await source.peek(over.signal).catch((error) => {
        closeFor(error);
        throw error;
      });
      // An item that came too late is for the next client.
      if (count >= expect) return;
      if (!item) {
        wait(true);
        if (expect === Infinity || signal?.aborted) await wire.channel.closeWrite();
        return;
      }
      try {
        wait(true);
        await wire.send(item);
        wait(false);
      } catch (error) {
        // What a peer sent before it stopped reading still comes. Datagrams end after silence.
        if (readsNoMore(error)) await wire.channel.closeWrite().catch(() => {});
        else closeFor(error);
        throw error;
      } finally {
        // A chunk that was sent in part is not for the next client.
        source.take();
      }
    }
  }
}

/** Reports whether a failure to send means that the peer does not read any more. */
function readsNoMore(error: unknown): boolean {
  return isPeerClosed(error) || error instanceof Deno.errors.ConnectionRefused;
}

/** Resolves to the failure when a peer that ended its direction does not read any more. */
async function readerGone(conn: Wire["conn"], signal: AbortSignal): Promise<unknown> {
  while (!signal.aborted) {
    try {
      // An empty write fails unless the peer still reads.
      await conn.write(new Uint8Array(0));
      await delay(PRESENCE_MS, signal);
    } catch (error) {
      return error;
    }
  }
  return undefined;
}
