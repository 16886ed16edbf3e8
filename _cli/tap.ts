/** `uds tap LISTEN TARGET`: a relay that shows what passes. */

import { decodeStream } from "../framing.ts";
import { dim, green, yellow } from "./color.ts";
import type { Endpoint } from "./endpoint.ts";
import { OK } from "./exit_codes.ts";
import { codecOf, describe, type FramingFlags, textOf } from "./framing.ts";
import type { ByteStream } from "./network.ts";
import { printable } from "./printable.ts";
import { checkFlags, type RelayFlags, serveRelay } from "./relay.ts";
import { stopSignal } from "./signals.ts";
import { print } from "./streams.ts";
import { QuietEnd, Talk } from "./talk.ts";

/** Its options. */
export type TapFlags = RelayFlags & FramingFlags;

/** Which way something goes. */
type Direction = "to-target" | "to-client";

/** What is shown of a connection. */
type Sight =
  | { event: "open" }
  | { event: "data"; direction: Direction; message: Uint8Array }
  | { event: "undecodable"; direction: Direction; reason: string }
  | { event: "end"; direction: Direction }
  | { event: "close"; reason?: string };

/** The command. */
export async function tap(flags: TapFlags, from: Endpoint, to: Endpoint): Promise<number> {
  checkFlags("tap", flags, from, to);
  const talk = new Talk(flags);
  const told = stopSignal();
  const failed = new AbortController();
  const signal = AbortSignal.any([told, failed.signal]);
  const isForPeople = Deno.stdout.isTerminal() && !flags.json;
  const format = isForPeople ? formatLine : formatJson;

  // One after the other: those of several connections must not be mixed within a line.
  let printed: Promise<void> = Promise.resolve();
  const show = (connection: number, sight: Sight): Promise<void> => {
    const line = format({ connection, time: new Date(), ...sight }, flags);
    return printed = printed.then(() => print(line)).catch((error) => {
      // Nobody can see any more what passes: `uds tap … | head`.
      failed.abort(error);
    });
  };

  let count = 0;
  await serveRelay(flags, from, to, {
    talk,
    signal,
    between(client, target) {
      const number = ++count;
      show(number, { event: "open" });
      const seen = [
        new Tapped(client, "to-target", flags, (sight) => show(number, sight)),
        new Tapped(target, "to-client", flags, (sight) => show(number, sight)),
      ] as const;
      return {
        client: seen[0],
        target: seen[1],
        async over(error) {
          await Promise.all(seen.map((side) => side.finish()));
          const reason = error instanceof Error ? { reason: error.message } : {};
          await show(number, { event: "close", ...reason });
        },
      };
    },
  });
  await printed;
  if (failed.signal.aborted && !(failed.signal.reason instanceof QuietEnd)) {
    throw failed.signal.reason;
  }
  return OK;
}

/** One side of a connection, of which everything that is read is shown. */
class Tapped implements ByteStream {
  readonly #inner: ByteStream;
  readonly #direction: Direction;
  readonly #show: (sight: Sight) => Promise<void>;
  readonly #bytes: WritableStreamDefaultWriter<Uint8Array>;
  readonly #shown: Promise<void>;
  #hasEnded = false;
  /** What comes is no message any more: it is shown as it is. */
  #isRaw: boolean;

  constructor(
    inner: ByteStream,
    direction: Direction,
    flags: FramingFlags,
    show: (sight: Sight) => Promise<void>,
  ) {
    this.#inner = inner;
    this.#direction = direction;
    this.#show = show;
    this.#isRaw = (flags.framing ?? "raw") === "raw";
    const { readable, writable } = decodeStream(codecOf(flags));
    this.#bytes = writable.getWriter();
    this.#bytes.closed.catch(() => {});
    this.#shown = this.#showMessages(readable);
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const count = await this.#inner.read(buffer);
    if (count === null) {
      await this.#end();
      await this.#show({ event: "end", direction: this.#direction });
    } else if (this.#isRaw) {
      await this.#show(this.#data(buffer.subarray(0, count)));
    } else {
      // Whoever does not read what is shown holds the connection back. A copy: messages are views.
      const chunk = buffer.slice(0, count);
      await this.#bytes.write(chunk).catch(async () => {
        await this.#shown;
        await this.#show(this.#data(chunk));
      });
    }
    return count;
  }

  write(data: Uint8Array): Promise<number> {
    return this.#inner.write(data);
  }

  closeWrite(): Promise<void> {
    return this.#inner.closeWrite();
  }

  close(): void {
    this.#inner.close();
  }

  /** Shows what is left. */
  async finish(): Promise<void> {
    await this.#end();
  }

  async #end(): Promise<void> {
    if (!this.#hasEnded) {
      this.#hasEnded = true;
      await this.#bytes.close().catch(() => {});
    }
    await this.#shown;
  }

  async #showMessages(messages: ReadableStream<Uint8Array>): Promise<void> {
    try {
      for await (const message of messages) await this.#show(this.#data(message));
    } catch (error) {
      this.#isRaw = true;
      const { message: reason } = error as Error;
      await this.#show({ event: "undecodable", direction: this.#direction, reason });
    }
  }

  #data(message: Uint8Array): Sight {
    return { event: "data", direction: this.#direction, message };
  }
}

type Stamped = Sight & { connection: number; time: Date };

function formatJson(sight: Stamped, flags: FramingFlags): string {
  const { time, connection, event, ...rest } = sight;
  const head = { time: time.toISOString(), connection, event };
  const { message, ...other } = rest as { message?: Uint8Array };
  const body = message === undefined ? other : { ...other, ...describe(message, flags) };
  return `${JSON.stringify({ ...head, ...body })}\n`;
}

/** A line for people: time, connection, direction, size, and what it is. */
function formatLine(sight: Stamped, flags: FramingFlags): string {
  const time = sight.time.toTimeString().slice(0, 8);
  const ms = String(sight.time.getMilliseconds()).padStart(3, "0");
  const head = dim(`${time}.${ms} #${sight.connection}`);
  switch (sight.event) {
    case "data": {
      const size = `${sight.message.length} B`.padStart(7);
      return `${head} ${arrow(sight.direction)} ${dim(size)}  ${content(sight.message, flags)}\n`;
    }
    case "end":
      return `${head} ${arrow(sight.direction)} ${dim("end")}\n`;
    case "undecodable":
      return `${head} ${arrow(sight.direction)} ${
        dim(printable(`${sight.reason}. Raw from here`))
      }\n`;
    case "open":
      return `${head} ${dim("open")}\n`;
    case "close":
      return `${head} ${
        dim(`close${sight.reason === undefined ? "" : `: ${printable(sight.reason)}`}`)
      }\n`;
  }
}

function arrow(direction: Direction): string {
  return direction === "to-target" ? green("→") : yellow("←");
}

/** Control characters that have a short name, as JSON has it. */
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** Bytes a line of a dump has. */
const DUMP_WIDTH = 16;

function content(message: Uint8Array, flags: FramingFlags): string {
  const text = flags.hex ? undefined : textOf(message);
  if (text !== undefined) return printable(text.replace(/[\n\r\t]/g, (c) => SHORT[c] as string));
  let dump = "";
  for (let at = 0; at < message.length; at += DUMP_WIDTH) {
    const row = message.subarray(at, at + DUMP_WIDTH);
    const hex = [...row].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
    const seen = [...row].map((byte) => byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".");
    const place = dim(at.toString(16).padStart(6, "0"));
    dump += `\n  ${place}  ${hex.padEnd(DUMP_WIDTH * 3)} ${dim(seen.join(""))}`;
  }
  return dump;
}
