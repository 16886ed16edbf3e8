/** A connection that shows what is read from it. */

import { InputBuffer } from "../../_internal/messages/input.ts";
import type { PeerCredentials } from "../../native/peer_credentials.ts";
import type { FramingFlags } from "../parse/options.ts";
import type { ByteStream } from "./byte_stream.ts";
import { codecOf } from "./framing.ts";

/** The direction of bytes through a relay. */
export type Direction = "to-target" | "to-client";

/** What happened on a relayed connection. */
export type TapEvent =
  | { event: "open"; peer?: PeerCredentials }
  | { event: "data"; direction: Direction; message: Uint8Array }
  | { event: "undecodable"; direction: Direction; reason: string }
  | { event: "descriptors"; direction: Direction; count: number; dropped?: true }
  | { event: "end"; direction: Direction }
  | { event: "close"; reason?: string };

/** Shows an event. Returns a promise to await before the next one, if the output is slow. */
export type Show = (event: TapEvent) => Promise<void> | undefined;

/** A {@linkcode tapped} connection. */
export interface TappedStream extends ByteStream {
  /** Shows the rest, which is not a whole message. */
  finish(): void;
}

/**
 * Returns a connection that shows what is read from it, message by message. A slow output delays
 * the reads.
 *
 * @param record Called with what each read returned, as it is.
 */
export function tapped(
  conn: ByteStream,
  direction: Direction,
  flags: FramingFlags,
  show: Show,
  record: Show = () => undefined,
): TappedStream {
  const codec = codecOf(flags);
  const input = new InputBuffer<Uint8Array>({
    // The codec checks its own limit.
    maxBytes: Number.MAX_SAFE_INTEGER,
    encode() {},
    decode: (bytes, scanned) => codec.decode(bytes, scanned),
    finish: (rest) => rest,
  });
  /** Whether bytes are shown as they come. */
  let isRaw = (flags.framing ?? "raw") === "raw";
  const showData = (message: Uint8Array) => show({ event: "data", direction, message });

  function finish(failure?: Error): void {
    const left: Uint8Array[] = [];
    input.finish(left);
    for (const rest of left) {
      const message = failure === undefined ? codec.finish?.(rest) : undefined;
      if (message === undefined) {
        const reason = failure?.message ?? "The end came within a message";
        show({ event: "undecodable", direction, reason });
      }
      showData(message ?? rest);
    }
  }

  async function showMessages(bytes: Uint8Array): Promise<void> {
    input.adopt(bytes);
    for (let isMore = true; isMore;) {
      const messages: Uint8Array[] = [];
      let failure: Error | undefined;
      try {
        isMore = input.decode(messages);
      } catch (error) {
        failure = error as Error;
        isRaw = true;
        isMore = false;
      }
      let full: Promise<void> | undefined;
      for (const message of messages) full = showData(message);
      if (failure !== undefined) finish(failure);
      await full;
    }
  }

  return {
    async read(buffer) {
      const count = await conn.read(buffer);
      const recorded = count === null
        ? record({ event: "end", direction })
        : record({ event: "data", direction, message: buffer.subarray(0, count) });
      if (count === null) {
        finish();
        await show({ event: "end", direction });
      } else if (isRaw) {
        await showData(buffer.subarray(0, count));
      } else {
        await showMessages(buffer.slice(0, count));
      }
      await recorded;
      return count;
    },
    write: (data) => conn.write(data),
    closeWrite: () => conn.closeWrite(),
    close: () => conn.close(),
    finish,
  };
}
