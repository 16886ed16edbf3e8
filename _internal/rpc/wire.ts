/**
 * Frames of messages, and what they contain.
 *
 * - Frames that are JSON texts are parsed apart from their codec: after one that is not JSON the
 *   next one can be received.
 * - Texts of requests and answers are joined, which takes less time than an object of them.
 */

import type { Codec, TextCodec } from "../../framing/codec.ts";
import { text } from "../../framing/text.ts";
import { show } from "../base/check.ts";
import { type JsonParts, jsonParts, lineCodecs, malformed } from "../messages/codec_support.ts";
import { jsonText, jsonTextOrNone } from "../messages/json_text.ts";
import type { OutputBuffer } from "../messages/output.ts";
import { decodeUtf8 } from "../messages/utf8.ts";

/** The identifier of a request. */
export type Id = string | number | null | ExactNumber;

/** A number that no number of JavaScript is equal to. It is sent back as it came. */
export class ExactNumber {
  readonly source: string;

  constructor(source: string) {
    this.source = source;
  }
}

/** An error as it is sent. */
export interface WireError {
  readonly code: number;
  readonly message: string;
  readonly data?: unknown;
}

const LF = 10;

/** Makes frames of messages, and messages of frames. */
export interface Wire {
  /** The codec of the frames. */
  readonly codec: Codec<unknown>;
  /** Returns the message of a frame. Throws if it is not one. */
  read(frame: unknown): unknown;
  /** Returns a request, or without `id` a notification. */
  request(id: number | undefined, method: string, params: unknown): unknown;
  result(id: Id, result: unknown): unknown;
  error(id: Id, error: WireError): unknown;
  /** Returns the answer to a batch. */
  batch(answers: unknown[]): unknown;
}

/** Returns the wire of a codec of objects. */
export function wireOf(codec: Codec<unknown>): Wire {
  const parts = jsonParts.get(codec);
  return parts === undefined ? objectWire(codec) : textWire(parts);
}

function textWire({ frames, parse }: JsonParts): Wire {
  return {
    codec: "text" in frames ? tolerant(frames) : textsIntoBytes(frames),
    read(frame) {
      if (frame instanceof Unreadable) throw frame.error;
      const text = typeof frame === "string" ? frame : textOf(frame as Uint8Array);
      const value: unknown = JSON.parse(text);
      const exact = hasRoundedId(value) ? withExactIds(text) : value;
      return parse === undefined ? exact : parse(exact);
    },
    request(id, method, params) {
      const start = id === undefined ? '{"jsonrpc":"2.0",' : `{"jsonrpc":"2.0","id":${id},`;
      const end = params === undefined ? "" : `,"params":${textOfParams(params)}`;
      return `${start}"method":${JSON.stringify(method)}${end}}`;
    },
    result: (id, result) => {
      const text = jsonTextOrNone(result, ".result") ?? "null";
      return `{"jsonrpc":"2.0","id":${textOfId(id)},"result":${text}}`;
    },
    error: (id, error) => `{"jsonrpc":"2.0","id":${textOfId(id)},"error":${JSON.stringify(error)}}`,
    batch: (answers) => `[${answers.join(",")}]`,
  };
}

function objectWire(codec: Codec<unknown>): Wire {
  return {
    codec,
    read: (frame) => frame,
    request: (id, method, params) => ({
      jsonrpc: "2.0",
      ...(id !== undefined && { id }),
      method,
      ...(params !== undefined && { params }),
    }),
    result: (id, result) => ({ jsonrpc: "2.0", id, result: result ?? null }),
    error: (id, error) => ({ jsonrpc: "2.0", id, error }),
    batch: (answers) => answers,
  };
}

/** Returns the JSON of parameters. With a `toJSON()`, it may be of another kind. */
function textOfParams(params: unknown): string {
  const text = jsonText(params, ".params");
  if (/^[[{]/.test(text)) return text;
  throw new TypeError(
    `Cannot encode a message: the JSON of ${show(params)} is not an object or an array`,
  );
}

function textOfId(id: Id): string {
  return id instanceof ExactNumber ? id.source : JSON.stringify(id);
}

/** Reports whether an identifier of a message or of a batch may not be the one in its text. */
function hasRoundedId(value: unknown): boolean {
  if (Array.isArray(value)) return value.some((one) => !Array.isArray(one) && hasRoundedId(one));
  const id = (value as { id?: unknown } | null)?.id;
  return typeof id === "number" && !Number.isSafeInteger(id);
}

/** Parses a text again, and keeps the numbers that identify messages as they are written. */
function withExactIds(text: string): unknown {
  const sources = new Map<unknown, string>();
  const reviver = function (this: unknown, key: string, value: unknown, context: Source): unknown {
    if (key === "id" && typeof value === "number") sources.set(this, context.source);
    return value;
  };
  // The types of the language do not have the third parameter yet.
  const value: unknown = JSON.parse(text, reviver as (key: string, value: unknown) => unknown);
  for (const message of Array.isArray(value) ? value : [value]) {
    const source = sources.get(message);
    if (source !== undefined) message.id = new ExactNumber(source);
  }
  return value;
}

/** What a reviver gets of a number: its text. */
interface Source {
  readonly source: string;
}

/** A frame that is whole, but has no text. */
class Unreadable {
  readonly error: unknown;

  constructor(error: unknown) {
    this.error = error;
  }
}

/** Returns a codec of lines that also takes one that is not UTF-8. Other codecs stay the same. */
function tolerant(frames: TextCodec): Codec<unknown> {
  if (!lineCodecs.has(frames)) return frames as Codec<unknown>;
  return {
    ...frames,
    decode(bytes, scanned) {
      try {
        return frames.decode(bytes, scanned);
      } catch (error) {
        const end = bytes.indexOf(LF, scanned) + 1;
        if (end === 0 || error instanceof RangeError) throw error;
        return { message: new Unreadable(error), end };
      }
    },
  };
}

/** Returns a codec that encodes texts, and decodes bytes, which may not be UTF-8. */
function textsIntoBytes(frames: Codec<Uint8Array>): Codec<unknown> {
  const { encode } = text(frames) as TextCodec;
  return { ...bound(frames), encode } as Codec<unknown>;
}

/** Returns the decoding methods of a codec, which may be an instance of a class. */
function bound<T>(codec: Codec<T>): Omit<Codec<T>, "encode"> {
  return {
    maxBytes: codec.maxBytes,
    decode: (bytes, scanned) => codec.decode(bytes, scanned),
    ...(codec.decodeAll !== undefined && { decodeAll: codec.decodeAll.bind(codec) }),
    ...(codec.finish !== undefined && { finish: codec.finish.bind(codec) }),
  };
}

function textOf(bytes: Uint8Array): string {
  const text = decodeUtf8(bytes);
  if (text === undefined) throw malformed(`a text of ${bytes.length} bytes is not UTF-8`);
  return text;
}

/** A codec that counts the bytes that it has encoded. */
export class CountingCodec implements Omit<Codec<unknown>, "encode"> {
  readonly #codec: Codec<unknown>;
  readonly maxBytes: number;
  readonly decode: Codec<unknown>["decode"];
  declare readonly decodeAll?: NonNullable<Codec<unknown>["decodeAll"]>;
  declare readonly finish?: NonNullable<Codec<unknown>["finish"]>;
  /** The number of bytes. */
  encoded = 0;

  constructor(codec: Codec<unknown>) {
    this.#codec = codec;
    const { maxBytes, decode, ...others } = bound(codec);
    this.maxBytes = maxBytes;
    this.decode = decode;
    Object.assign(this, others);
  }

  encode(message: unknown, out: OutputBuffer): void {
    const before = out.size;
    this.#codec.encode(message, out);
    this.encoded += out.size - before;
  }
}
