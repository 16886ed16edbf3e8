/** Passing messages of standard input to a connection, and those that come to standard output. */

import type { Connection } from "../../connection.ts";
import { messages } from "../../framing.ts";
import type { AnswerLimit } from "./answer_limit.ts";
import { codecOf, type FramingFlags, toLine } from "./framing.ts";
import { pass, watch } from "./pass.ts";
import { print } from "./output.ts";
import type { Source } from "./streams.ts";
import type { CommonFlags } from "../parse/command.ts";
import { UsageError } from "../exit_codes.ts";

/** Options of commands that pass something. */
export type PassFlags = CommonFlags & FramingFlags & {
  readonly expect?: number;
  readonly timeout?: number;
};

/** Refuses options that do not go together. */
export function checkPassFlags(
  command: string,
  { framing, expect, hex, piece }: PassFlags & { piece?: number },
): void {
  if (expect !== undefined && (framing ?? "raw") === "raw") {
    throw new UsageError("--expect needs --framing, other than raw: it counts messages", command);
  }
  if (piece !== undefined && (framing !== undefined || hex)) {
    throw new UsageError("--piece does not go with --framing and --hex", command);
  }
}

/**
 * Passes a source to a connection, and what comes from it to standard output: as `pass` does, but message
 * by message.
 *
 * - With `expect` it is over when so many messages have come, and the end of the source is not passed on
 *   before: many servers take that for a client that has gone.
 * - `limit` counts while the other side is waited for.
 * - `timeout` counts for the messages that are expected.
 *
 * @throws {Deno.errors.TimedOut} when the time is over.
 * @throws {Error} when the other side ends before all that is expected has come.
 */
export async function passMessages(
  conn: Connection,
  source: Source,
  flags: PassFlags,
  { signal, limit }: { signal?: AbortSignal; limit?: AnswerLimit } = {},
): Promise<void> {
  using _closed = conn;
  const { expect = Infinity, timeout } = flags;
  const channel = messages(conn, codecOf(flags), { maxPending: 1 });
  const over = new AbortController();
  const stop = () => over.abort();
  if (signal?.aborted) stop();
  signal?.addEventListener("abort", stop);
  let late: Error | undefined;
  const timer = expect === Infinity || timeout === undefined ? undefined : setTimeout(() => {
    late = new Deno.errors.TimedOut(
      `Got ${count} of ${expect} messages within ${timeout / 1000} s`,
    );
    conn.close();
  }, timeout);

  let count = 0;
  let unsendable: unknown;
  const sent = send();
  // Told below, when the other direction has ended.
  sent.catch(() => {});
  try {
    for await (const message of channel) {
      limit?.pause();
      await print(toLine(message, flags));
      limit?.heard();
      if (++count >= expect) return;
    }
    if (late ?? unsendable) throw late ?? unsendable;
    if (expect < Infinity) throw new Error(`Got ${count} of ${expect} messages, and then the end`);
    let reset: unknown;
    using _watch = watch(conn, (error) => {
      if (error instanceof Deno.errors.ConnectionReset) reset = error;
      stop();
    });
    await sent;
    if (reset !== undefined) throw reset;
  } catch (error) {
    throw late ?? unsendable ?? error;
  } finally {
    clearTimeout(timer);
    stop();
    signal?.removeEventListener("abort", stop);
    // Until it has ended it might still take a message that is for the next client.
    channel.close();
    await sent.catch(() => {});
  }

  async function send(): Promise<void> {
    for (;;) {
      let message;
      try {
        message = await source.next(over.signal);
      } catch (error) {
        unsendable = error;
        conn.close();
        throw error;
      }
      // What came too late is for the next one.
      if (count >= expect) return;
      if (!message) {
        limit?.start();
        if (expect === Infinity || signal?.aborted) await channel.closeWrite();
        return;
      }
      try {
        limit?.start();
        // It is sent before the source may use its memory again.
        await channel.send(message);
        await channel.flush();
      } catch (error) {
        if (error instanceof RangeError) {
          unsendable = error;
          conn.close();
        }
        throw error;
      } finally {
        limit?.stop();
        source.take();
      }
    }
  }
}

/** Passes as the options say: bytes as they are, or messages. */
export async function passAs(
  conn: Connection,
  source: Source,
  flags: PassFlags,
  signal?: AbortSignal,
): Promise<void> {
  if (flags.framing === undefined && !flags.hex) {
    await pass(conn, source, signal && { signal });
  } else {
    await passMessages(conn, source, flags, signal && { signal });
  }
}
