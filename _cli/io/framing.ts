/** Messages on the command line: what `--framing` and `--hex` say. */

import { type Codec, contentLength, delimited, lengthPrefixed } from "../../framing.ts";
import type { Framing } from "../parse/parameters.ts";
import { json } from "../text/printable.ts";
import { BUFFER_SIZE, type Source } from "./streams.ts";
import type { CommonFlags } from "../parse/command.ts";

/** The options. */
export type FramingFlags = {
  readonly framing?: Framing;
  readonly hex?: boolean;
};

/** The codec of a framing. Whatever the bytes are, they are shown: also lines that are no UTF-8. */
export function codecOf({ framing = "raw" }: FramingFlags): Codec<Uint8Array> {
  switch (framing) {
    case "lines":
      return LINES;
    case "nul":
      return delimited(0);
    case "u32be":
      return lengthPrefixed();
    case "u32le":
      return lengthPrefixed({ littleEndian: true });
    case "content-length":
      return contentLength();
    case "raw":
      return RAW;
  }
}

const LF = 10;
const CR = 13;
const DELIMITED = delimited(LF);

/** Lines: a carriage return before the end is none of the line; the last one may have no end. */
const LINES: Codec<Uint8Array> = {
  maxBytes: DELIMITED.maxBytes,
  encode: (message, out) => DELIMITED.encode(message, out),
  decode(bytes, scanned) {
    const found = DELIMITED.decode(bytes, scanned);
    if (typeof found !== "object" || found.message.at(-1) !== CR) return found;
    return { message: found.message.subarray(0, -1), end: found.end };
  },
  finish: (rest) => rest,
};

const RAW: Codec<Uint8Array> = {
  maxBytes: Number.MAX_SAFE_INTEGER,
  encode: (message, out) => out.bytes(message),
  decode: (bytes) => ({ message: bytes, end: bytes.length }),
};

/** A message that is to be sent, as the command line has it. */
export function toMessage(text: string, { hex }: FramingFlags): Uint8Array {
  return hex ? fromHex(text) : new TextEncoder().encode(text);
}

/** Bytes in hexadecimal, with spaces or colons between them where one likes. */
function fromHex(text: string): Uint8Array {
  const digits = text.replace(/[\s:]/g, "");
  if (!/^([0-9a-f]{2})*$/i.test(digits)) {
    throw new TypeError(
      `Cannot send ${JSON.stringify(text.slice(0, 50))}: --hex takes two hexadecimal digits a byte`,
    );
  }
  return Uint8Array.fromHex(digits);
}

/** A message that has come, as a line of the output. */
export function toLine(message: Uint8Array, flags: FramingFlags & CommonFlags): Uint8Array {
  if (flags.json) return encode(`${json(describe(message, flags))}\n`);
  if (flags.hex) return encode(`${message.toHex()}\n`);
  const line = new Uint8Array(message.length + 1);
  line.set(message);
  line[message.length] = 10;
  return line;
}

/** A message for JSON: as a text, unless it is none or is not wanted as one. */
export function describe(
  message: Uint8Array,
  { hex }: FramingFlags,
): { size: number; text?: string; hex?: string } {
  const text = hex ? undefined : textOf(message);
  return { size: message.length, ...(text === undefined ? { hex: message.toHex() } : { text }) };
}

const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The text of a message; `undefined` where it is no UTF-8. */
export function textOf(message: Uint8Array): string | undefined {
  try {
    return DECODER.decode(message);
  } catch {
    return undefined;
  }
}

function encode(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** The messages of a source: with a framing, or in hexadecimal, each of its lines is one. */
export function messageSource(source: Source, flags: FramingFlags): Source {
  if (!flags.hex && (flags.framing ?? "raw") === "raw") return source;
  return new LineSource(source, flags);
}

/** What a source has, line by line. What nobody has taken stays, for whoever asks next. */
class LineSource implements Source {
  readonly #source: Source;
  readonly #flags: FramingFlags;
  #buffer = new Uint8Array(BUFFER_SIZE);
  #start = 0;
  #end = 0;
  #isOver = false;

  constructor(source: Source, flags: FramingFlags) {
    this.#source = source;
    this.#flags = flags;
  }

  async next(signal: AbortSignal): Promise<Uint8Array | null | undefined> {
    for (let scanned = 0;;) {
      const rest = this.#rest;
      const end = rest.indexOf(LF, scanned);
      if (end >= 0) return this.#message(end);
      scanned = rest.length;
      if (this.#isOver) return scanned === 0 ? null : this.#message(scanned);
      const chunk = await this.#source.next(signal);
      if (chunk === undefined) return undefined;
      if (chunk === null) {
        this.#isOver = true;
        continue;
      }
      this.#append(chunk);
      this.#source.take();
    }
  }

  take(): void {
    const end = this.#rest.indexOf(LF);
    this.#start = end < 0 ? this.#end : this.#start + end + 1;
  }

  /** What no line was taken of. */
  get #rest(): Uint8Array {
    return this.#buffer.subarray(this.#start, this.#end);
  }

  #append(chunk: Uint8Array): void {
    const rest = this.#rest;
    const size = rest.length + chunk.length;
    if (size > this.#buffer.length - this.#start) {
      // Twice what there is: a long line is not copied with each of its chunks.
      if (size > this.#buffer.length) this.#buffer = new Uint8Array(2 * size);
      this.#buffer.set(rest);
      this.#start = 0;
    }
    this.#buffer.set(chunk, this.#start + rest.length);
    this.#end = this.#start + size;
  }

  /**
   * A line as a message. With other frames than lines each byte before the line feed is a part of it; with
   * lines a carriage return there is a part of the end.
   */
  #message(end: number): Uint8Array {
    const rest = this.#rest;
    const hasCr = this.#flags.framing === "lines" && end < rest.length && rest[end - 1] === CR;
    const line = rest.subarray(0, hasCr ? end - 1 : end);
    if (!this.#flags.hex) return line;
    try {
      return fromHex(new TextDecoder().decode(line));
    } catch (error) {
      this.take();
      throw error;
    }
  }
}
