/** Messages on the command line: `--framing`, `--hex` and `--expect`. */

import type { Connection } from "../../connection.ts";
import { type Codec, contentLength, delimited, lengthPrefixed, messages } from "../../framing.ts";
import { UsageError } from "../exit_codes.ts";
import type { CommonFlags } from "../parse/command.ts";
import type { ExchangingFlags, FramingFlags } from "../parse/options.ts";
import type { Framing } from "../parse/parameters.ts";
import { json } from "../text/printable.ts";
import { print } from "./output.ts";
import { bytesOf, type Wire } from "./pipe_stdio.ts";
import { Peekable, readStdin, readStdinInto } from "./stdin.ts";

const LF = 10;
const CR = 13;
/** The maximum size of a line of the input: no buffer is larger. */
const MAX_LINE_BYTES = 2 ** 32;

/** Returns a codec of lines. The last one may have no end. */
function lines(dropsCr: boolean, frames: Codec<Uint8Array> = delimited(LF)): Codec<Uint8Array> {
  return {
    maxBytes: frames.maxBytes,
    encode: (message, out) => frames.encode(message, out),
    decode(bytes, scanned) {
      const found = frames.decode(bytes, scanned);
      if (!dropsCr || typeof found !== "object" || found.message.at(-1) !== CR) return found;
      return { message: found.message.subarray(0, -1), end: found.end };
    },
    finish: (rest) => rest,
  };
}

/** Each read is a message. */
const RAW: Codec<Uint8Array> = {
  maxBytes: Number.MAX_SAFE_INTEGER,
  encode: (message, out) => out.bytes(message),
  decode: (bytes) => ({ message: bytes, end: bytes.length }),
};

/** The codecs of the framings. They decode any bytes, so that all can be shown. */
const CODECS: Readonly<Record<Framing, () => Codec<Uint8Array>>> = {
  "lines": () => lines(true),
  "nul": () => delimited(0),
  "u32be": () => lengthPrefixed(),
  "u32le": () => lengthPrefixed({ littleEndian: true }),
  "content-length": () => contentLength(),
  "raw": () => RAW,
};

/** Returns the codec of the options. */
export function codecOf({ framing = "raw" }: FramingFlags): Codec<Uint8Array> {
  return CODECS[framing]();
}

/** Throws unless the options go together. */
export function checkFraming(
  { framing, expect, hex, piece }: ExchangingFlags & { readonly piece?: number },
): void {
  if (expect !== undefined && (framing ?? "raw") === "raw") {
    throw new UsageError("--expect needs --framing, other than raw: it counts messages");
  }
  if (piece !== undefined && (framing !== undefined || hex)) {
    throw new UsageError("--piece does not go with --framing and --hex");
  }
}

/** Returns the items of standard input. With a framing or `--hex`, each line is one. */
export function stdinItems({ framing = "raw", hex }: FramingFlags): Peekable<Uint8Array> {
  if (framing === "raw" && !hex) return new Peekable(readStdin());
  // With other framings a carriage return is part of the message.
  const codec = lines(framing === "lines", delimited(LF, { maxBytes: MAX_LINE_BYTES }));
  const input = { read: readStdinInto, write: () => Promise.resolve(0) };
  return new Peekable(messages(input, codec, { reuse: true })[Symbol.asyncIterator]());
}

/** Returns a connection that is piped as the options say: as bytes, or as messages. */
export function wireOf(conn: Connection, flags: FramingFlags & CommonFlags): Wire {
  if (flags.framing === undefined && !flags.hex) return bytesOf(conn);
  const channel = messages(conn, codecOf(flags), { maxPending: 1 });
  return {
    conn,
    channel,
    incoming: channel,
    async send(line) {
      await channel.send(flags.hex ? fromHex(new TextDecoder().decode(line)) : line);
      await channel.flush();
    },
    print: (message) => print(toLine(message, flags)),
  };
}

/** Decodes hexadecimal digits. Spaces and colons may separate bytes. */
export function fromHex(text: string): Uint8Array {
  const bytes = bytesOfDigits(text.replace(/[\s:]/g, ""));
  if (bytes !== undefined) return bytes;
  throw new TypeError(
    `Cannot send ${JSON.stringify(text.slice(0, 50))}: --hex takes two hexadecimal digits a byte`,
  );
}

/** Returns the bytes of a text that is nothing but two hexadecimal digits each. */
export function bytesOfDigits(digits: string): Uint8Array | undefined {
  try {
    return Uint8Array.fromHex(digits);
  } catch {
    return undefined;
  }
}

/** Returns a received message as a line of the output. */
export function toLine(
  message: Uint8Array,
  flags: FramingFlags & CommonFlags,
): Uint8Array | string {
  if (flags.json) return `${json(describe(message, flags))}\n`;
  if (flags.hex) return `${message.toHex()}\n`;
  const line = new Uint8Array(message.length + 1);
  line.set(message);
  line[message.length] = LF;
  return line;
}

/** Returns a message for JSON: as text if it is UTF-8, unless `--hex` is given. */
export function describe(
  message: Uint8Array,
  { hex }: FramingFlags,
): { size: number; text?: string; hex?: string } {
  const text = hex ? undefined : textOf(message);
  return { size: message.length, ...(text === undefined ? { hex: message.toHex() } : { text }) };
}

/** Returns a message as text for people: in quotes, or in hexadecimal if it is not UTF-8. */
export function shownMessage(message: Uint8Array): string {
  const text = textOf(message);
  return text === undefined ? message.toHex() : JSON.stringify(text);
}

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Returns the text of a message, or `undefined` if it is not UTF-8. */
export function textOf(message: Uint8Array): string | undefined {
  try {
    return DECODER.decode(message);
  } catch {
    return undefined;
  }
}
