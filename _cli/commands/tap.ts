/** `uds tap LISTEN TARGET`: a relay that shows what passes. */

import { InputBuffer } from "../../_internal/messages/input.ts";
import type { Codec } from "../../framing.ts";
import { dim, green, yellow } from "../text/color.ts";
import type { Endpoint } from "../io/endpoint.ts";
import { OK, QuietEnd } from "../exit_codes.ts";
import { codecOf, describe, type FramingFlags, textOf } from "../io/framing.ts";
import { GatheredOutput } from "../io/gathered_output.ts";
import type { ByteStream } from "../io/byte_stream.ts";
import { json, printable } from "../text/printable.ts";
import { checkFlags, type RelayFlags, serveRelay } from "./relay.ts";
import { stopSignal } from "../io/signals.ts";
import { Reporter } from "../io/reporter.ts";

export { needs } from "./relay.ts";

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
export async function run(flags: TapFlags, from: Endpoint, to: Endpoint): Promise<number> {
  checkFlags("tap", flags, from, to);
  using reporter = new Reporter(flags);
  const told = stopSignal();
  const failed = new AbortController();
  const signal = AbortSignal.any([told, failed.signal]);
  const isForPeople = Deno.stdout.isTerminal() && !flags.json;
  const format = isForPeople ? formatLine : formatJson;

  // Nobody can see any more what passes: `uds tap … | head`.
  const output = new GatheredOutput((error) => failed.abort(error));
  const show: Show = (connection, sight) =>
    output.add(format({ connection, time: new Date(), ...sight }, flags));

  let count = 0;
  await serveRelay(flags, from, to, {
    reporter,
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
        over(error) {
          for (const side of seen) side.finish();
          const reason = error instanceof Error ? { reason: error.message } : {};
          show(number, { event: "close", ...reason });
        },
      };
    },
  });
  await output.flush();
  if (failed.signal.aborted && !(failed.signal.reason instanceof QuietEnd)) {
    throw failed.signal.reason;
  }
  return OK;
}

/** Shows something of a connection. Returns a promise to wait for first, before more is shown. */
type Show = (connection: number, sight: Sight) => Promise<void> | undefined;

/** One side of a connection, of which everything that is read is shown. */
class Tapped implements ByteStream {
  readonly #inner: ByteStream;
  readonly #direction: Direction;
  readonly #show: (sight: Sight) => Promise<void> | undefined;
  readonly #input: InputBuffer<Sight[]>;
  /** What comes is no message, or none any more: it is shown as it comes. */
  #isRaw: boolean;

  constructor(
    inner: ByteStream,
    direction: Direction,
    flags: FramingFlags,
    show: (sight: Sight) => Promise<void> | undefined,
  ) {
    this.#inner = inner;
    this.#direction = direction;
    this.#show = show;
    this.#isRaw = (flags.framing ?? "raw") === "raw";
    this.#input = new InputBuffer(sightsOf(codecOf(flags), direction, () => this.#isRaw = true));
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    const count = await this.#inner.read(buffer);
    let full: Promise<void> | undefined;
    if (count === null) {
      this.finish();
      full = this.#show({ event: "end", direction: this.#direction });
    } else if (this.#isRaw) {
      full = this.#show(dataOf(this.#direction, buffer.subarray(0, count)));
    } else {
      await this.#decode(buffer.slice(0, count));
      if (this.#isRaw) this.finish();
    }
    // While nobody reads what is shown the connection is held back.
    if (full !== undefined) await full;
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

  /** Shows what is left, which is no message. */
  finish(): void {
    const sights: Sight[][] = [];
    this.#input.finish(sights);
    for (const sight of sights.flat()) this.#show(sight);
  }

  async #decode(bytes: Uint8Array): Promise<void> {
    this.#input.adopt(bytes);
    for (let more = true; more;) {
      const sights: Sight[][] = [];
      more = this.#input.decode(sights);
      let full: Promise<void> | undefined;
      for (const some of sights) for (const sight of some) full = this.#show(sight);
      if (full !== undefined) await full;
    }
  }
}

function dataOf(direction: Direction, message: Uint8Array): Sight {
  return { event: "data", direction, message };
}

/** What is shown of the messages of a codec; at the end, of what it could not decode. */
function sightsOf(
  codec: Codec<Uint8Array>,
  direction: Direction,
  onUndecodable: () => void,
): Codec<Sight[]> {
  let failure: Error | undefined;
  return {
    // The codec itself compares with its own limit.
    maxBytes: Number.MAX_SAFE_INTEGER,
    encode() {},
    decode(bytes, scanned) {
      if (failure !== undefined) return undefined;
      try {
        const found = codec.decode(bytes, scanned);
        if (typeof found !== "object") return found;
        return { message: [dataOf(direction, found.message)], end: found.end };
      } catch (error) {
        failure = error as Error;
        onUndecodable();
        return undefined;
      }
    },
    finish(rest) {
      if (failure === undefined && codec.finish) return [dataOf(direction, codec.finish(rest))];
      const reason = failure?.message ?? "The end came within a message";
      return [{ event: "undecodable", direction, reason }, dataOf(direction, rest)];
    },
  };
}

type Stamped = Sight & { connection: number; time: Date };

function formatJson(sight: Stamped, flags: FramingFlags): string {
  const { time, connection, event, ...rest } = sight;
  const head = { time: time.toISOString(), connection, event };
  if (!("message" in rest)) return `${json({ ...head, ...rest })}\n`;
  const { message, direction } = rest;
  return `${json({ ...head, direction, ...describe(message, flags) })}\n`;
}

/** A line for people: time, connection, direction, size, and what it is. */
function formatLine(sight: Stamped, flags: FramingFlags): string {
  const time = sight.time.toTimeString().slice(0, 8);
  const ms = String(sight.time.getMilliseconds()).padStart(3, "0");
  const stamp = `${time}.${ms} #${sight.connection}`;
  const head = dim(stamp);
  switch (sight.event) {
    case "data": {
      const size = `${sight.message.length} B`.padStart(7);
      return `${head} ${arrow(sight.direction)} ${dim(size)}  ${
        content(sight.message, flags, stamp.length + BEFORE_CONTENT)
      }\n`;
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

/** Columns between the number of the connection and the content. */
const BEFORE_CONTENT = " →       B  ".length;
/** Bytes a line of a dump has. */
const DUMP_WIDTH = 16;

/** A text, line below line from a column on; other bytes as a dump. */
function content(message: Uint8Array, flags: FramingFlags, column: number): string {
  const text = flags.hex ? undefined : textOf(message);
  if (text !== undefined) {
    const lines = text.split(/(?<=\n)/).map((line) => line.replace(/[\p{Cc}\p{Cf}]/gu, escape));
    return lines.join(`\n${" ".repeat(column)}`);
  }
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

const NAMED: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** What would move the cursor, or turn the text around; it stands back, for a backslash may be there too. */
function escape(control: string): string {
  return dim(NAMED[control] ?? printable(control));
}
