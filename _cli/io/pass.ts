/** Passing standard input to a connection, and what comes from it to standard output. */

import type { Connection } from "../../connection.ts";
import type { AnswerLimit } from "./answer_limit.ts";
import { print } from "./output.ts";
import { BUFFER_SIZE, type Source } from "./streams.ts";

/** How often a peer that has ended its direction is asked whether it is still there. */
const PRESENCE_MS = 200;

/** Options of {@linkcode pass}. */
export interface PassOptions {
  /** Ends the source. */
  signal?: AbortSignal;
  /** How many bytes to read at once, at most. */
  size?: number;
  /** Called with what was read, before it is printed. */
  onPiece?: (data: Uint8Array) => void;
  /** How long the peer may be silent. */
  limit?: AnswerLimit;
}

/**
 * Passes a source to a connection, and what comes from it to standard output.
 *
 * - The end of the source is passed on as a half-close; the way back goes on until the peer ends it.
 * - A peer that has ended only its own direction is still sent the source. One that has gone is noticed
 *   also while there is nothing to send.
 * - A peer that has gone without all that it was sent is a failure, told when everything is printed that
 *   it had sent.
 * - It holds one chunk in each direction: whoever is slow holds the other one back.
 *
 * @param conn The connection, which is closed at the end.
 * @param source What to send.
 * @param options When to stop; how to read.
 * @returns The last byte that was printed.
 */
export async function pass(
  conn: Connection,
  source: Source,
  options: PassOptions = {},
): Promise<number | undefined> {
  using _closed = conn;
  const over = new AbortController();
  const stop = () => over.abort();
  if (options.signal?.aborted) stop();
  options.signal?.addEventListener("abort", stop);

  let unreadable: unknown;
  const sent = send(conn, source, over.signal, options.limit, (error) => {
    unreadable = error;
    conn.close();
  });
  // Told below, when the other direction has ended.
  sent.catch(() => {});
  try {
    const last = await receive(conn, options);
    let reset: unknown;
    using _watch = watch(conn, (error) => {
      if (error instanceof Deno.errors.ConnectionReset) reset = error;
      stop();
    });
    await sent;
    if (reset !== undefined) throw reset;
    return last;
  } catch (error) {
    throw unreadable ?? error;
  } finally {
    stop();
    options.signal?.removeEventListener("abort", stop);
  }
}

/** Sends the source, and its end. */
async function send(
  conn: Connection,
  source: Source,
  signal: AbortSignal,
  limit: AnswerLimit | undefined,
  onUnreadable: (error: unknown) => void,
): Promise<void> {
  for (;;) {
    let chunk;
    try {
      chunk = await source.next(signal);
    } catch (error) {
      onUnreadable(error);
      throw error;
    }
    if (!chunk) {
      limit?.start();
      return await conn.closeWrite();
    }
    try {
      limit?.start();
      // A write of nothing would ask whether the peer is still there, which it need not be.
      if (chunk.length > 0) await conn.write(chunk);
    } finally {
      limit?.stop();
      // Also where it could not be sent: the rest of it is for nobody else.
      source.take();
    }
  }
}

/** Prints what comes, until the end of file; gives the last byte. */
async function receive(
  conn: Connection,
  { size = BUFFER_SIZE, onPiece, limit }: PassOptions,
): Promise<number | undefined> {
  const buffer = new Uint8Array(size);
  let last;
  for (;;) {
    const count = await conn.read(buffer);
    limit?.pause();
    if (count === null) return last;
    const data = buffer.subarray(0, count);
    onPiece?.(data);
    await print(data);
    last = data.at(-1);
    limit?.heard();
  }
}

/** Calls back when the peer, which has ended its direction, has gone. */
export function watch(conn: Connection, gone: (error: unknown) => void): Disposable {
  let asking = false;
  const ask = async () => {
    if (asking) return;
    asking = true;
    try {
      // A write of nothing: only whoever still reads lets it pass.
      await conn.write(new Uint8Array(0));
    } catch (error) {
      gone(error);
    }
    asking = false;
  };
  ask();
  const timer = setInterval(ask, PRESENCE_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
