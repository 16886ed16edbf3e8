/** The same reply to each request or message: `uds serve --reply`. */

import { settlesWithin } from "../../_internal/base/silence.ts";
import type { Connection } from "../../connection.ts";
import { messages } from "../../framing.ts";
import type { FramingFlags } from "../parse/options.ts";
import type { ByteStream } from "./byte_stream.ts";
import { codecOf, fromHex } from "./framing.ts";
import { readOptionFile } from "./option_file.ts";
import { idleLimit } from "./silence_limit.ts";

/** The options. */
export type ReplyFlags = FramingFlags & {
  readonly reply?: string;
  readonly "reply-file"?: string;
};

const LF = 10;
/** How long, in milliseconds, a pause must be to end a request. */
const PAUSE_MS = 50;
const BUFFER_BYTES = 64 * 1024;

/** Returns the reply, of which the framing can make a message. */
export async function readReply(
  { reply, "reply-file": file, ...flags }: ReplyFlags,
): Promise<Uint8Array> {
  let data: Uint8Array = file === undefined
    ? new TextEncoder().encode(reply)
    : await readOptionFile(file);
  if (flags.hex) data = fromHex(new TextDecoder().decode(data));
  // Each line has a line feed already.
  else if (flags.framing === "lines" && file !== undefined && data.at(-1) === LF) {
    data = data.subarray(0, -1);
  }
  const nowhere: ByteStream["write"] = ({ length }) => Promise.resolve(length);
  await messages({ read: () => Promise.resolve(null), write: nowhere }, codecOf(flags)).send(data);
  return data;
}

/** Sends the reply for each request of a client, until its end of file or `draining`. */
export async function sendReplies(
  conn: Connection,
  reply: Uint8Array,
  flags: ReplyFlags & { readonly idle?: number },
  draining: AbortSignal,
): Promise<void> {
  using limit = idleLimit(flags.idle);
  limit.signal.addEventListener("abort", () => conn.close());
  const client = limit.watched(conn);
  try {
    if (flags.framing === undefined) return await replyToRequests(client, reply);
    await using channel = messages(client, codecOf(flags), { draining });
    for await (const _ of channel) await channel.send(reply);
  } catch (error) {
    throw limit.signal.aborted ? limit.signal.reason : error;
  }
}

/**
 * Sends the reply for each request, which ends at a pause or at the end of file. An end of file
 * without any request counts as one.
 */
async function replyToRequests(conn: ByteStream, reply: Uint8Array): Promise<void> {
  const buffer = new Uint8Array(BUFFER_BYTES);
  let state: "first" | "begun" | "answered" = "first";
  for (let count: number | null = 0; count !== null;) {
    const reading = conn.read(buffer);
    if (state === "begun" && !await settlesWithin(reading, PAUSE_MS)) {
      await conn.write(reply);
      state = "answered";
    }
    count = await reading;
    if (count !== null) state = "begun";
  }
  if (state !== "answered") await conn.write(reply);
  await conn.closeWrite();
}
