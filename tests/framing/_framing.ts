/** Helpers that the tests of `framing` share. */

import { Buffer } from "node:buffer";
import {
  type Codec,
  type Connection,
  contentLength,
  delimited,
  json,
  lengthPrefixed,
  lines,
  type Messages,
  messages,
  socketpair,
  text,
} from "@uds/uds";
import { encode } from "../_helpers.ts";

/** The class of an error, with any parameters. */
// deno-lint-ignore no-explicit-any
export type ErrorClass = new (...args: any[]) => Error;

/**
 * A connection in memory. Its reads return given pieces, and then the end. It keeps what is
 * written.
 */
export class Pieces {
  readonly written: Uint8Array[] = [];
  closedWrite = false;
  closed = false;
  #left: Uint8Array[];

  constructor(...pieces: Uint8Array[]) {
    this.#left = pieces.filter((piece) => piece.length > 0);
  }

  read(buffer: Uint8Array): Promise<number | null> {
    const piece = this.#left.shift();
    if (piece === undefined) return Promise.resolve(null);
    const count = Math.min(piece.length, buffer.length);
    buffer.set(piece.subarray(0, count));
    if (count < piece.length) this.#left.unshift(piece.subarray(count));
    return Promise.resolve(count);
  }

  write(data: Uint8Array): Promise<number> {
    this.written.push(data.slice());
    return Promise.resolve(data.length);
  }

  closeWrite(): Promise<void> {
    this.closedWrite = true;
    return Promise.resolve();
  }

  close(): void {
    this.closed = true;
  }

  /** Everything that was written. */
  get bytes(): Uint8Array {
    return concat(...this.written);
  }
}

export function concat(...parts: Uint8Array[]): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Returns the encoded bytes of messages. */
export async function encoded<T>(codec: Codec<unknown, T>, ...values: T[]): Promise<Uint8Array> {
  const conn = new Pieces();
  const channel = messages(conn, codec);
  for (const value of values) await channel.send(value);
  await channel.flush();
  return conn.bytes;
}

/** Returns the messages of some bytes, and the error that ends them, if any. */
export async function decoded<T>(
  codec: Codec<T, never>,
  ...pieces: Uint8Array[]
): Promise<{ values: T[]; error?: Error }> {
  const channel = messages(new Pieces(...pieces), codec);
  const values: T[] = [];
  try {
    for await (const value of channel) values.push(value);
    return { values };
  } catch (error) {
    return { values, error: error as Error };
  }
}

export function hex(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

export function unhex(text: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array((text.match(/[0-9a-f]{2}/g) ?? []).map((byte) => parseInt(byte, 16)));
}

/** Two connected channels, and the connections below them. */
export interface Channels<T> {
  a: Connection;
  b: Connection;
  ours: Messages<T>;
  theirs: Messages<T>;
}

/** Returns two connected channels. */
export async function channels<T>(codec: Codec<T>, options = {}): Promise<Channels<T>> {
  const [a, b] = await socketpair();
  return { a, b, ours: messages(a, codec, options), theirs: messages(b, codec) };
}

/** Returns a codec without its fast path for decoding. */
export function slow<In, Out>(codec: Codec<In, Out>): Codec<In, Out> {
  return {
    maxBytes: codec.maxBytes,
    encode: (message, out) => codec.encode(message, out),
    decode: (bytes, scanned) => codec.decode(bytes, scanned),
    ...(codec.finish && { finish: (rest: Uint8Array) => codec.finish!(rest) }),
    ...(codec.skip && { skip: (bytes: Uint8Array, count: number) => codec.skip!(bytes, count) }),
  };
}

export const HELLO: Uint8Array<ArrayBuffer> = encode("hello");

export const EMPTY: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** A codec of a table, with messages of any type. */
// deno-lint-ignore no-explicit-any
export type AnyCodec = Codec<any>;

export const FRAMES: [string, AnyCodec, unknown[], Uint8Array][] = [
  ["lengthPrefixed()", lengthPrefixed(), [HELLO, EMPTY], unhex("00000005 68656c6c6f 00000000")],
  [
    "lengthPrefixed({ prefix: 1 })",
    lengthPrefixed({ prefix: 1 }),
    [HELLO, EMPTY],
    unhex("05 68656c6c6f 00"),
  ],
  [
    "lengthPrefixed({ prefix: 2, littleEndian: true })",
    lengthPrefixed({ prefix: 2, littleEndian: true }),
    [HELLO, new Uint8Array(258)],
    concat(unhex("0500 68656c6c6f 0201"), new Uint8Array(258)),
  ],
  [
    "lengthPrefixed({ prefix: 8 })",
    lengthPrefixed({ prefix: 8 }),
    [HELLO, EMPTY],
    unhex("0000000000000005 68656c6c6f 0000000000000000"),
  ],
  [
    "lengthPrefixed({ prefix: 8, littleEndian: true })",
    lengthPrefixed({ prefix: 8, littleEndian: true }),
    [HELLO],
    unhex("0500000000000000 68656c6c6f"),
  ],
  [
    "lengthPrefixed({ prefix: 3, littleEndian: true, adjust: 1 })",
    lengthPrefixed({ prefix: 3, littleEndian: true, adjust: 1 }),
    [unhex("00 68656c6c6f"), unhex("01"), new Uint8Array(258)],
    concat(unhex("050000 00 68656c6c6f 000000 01 010100"), new Uint8Array(258)),
  ],
  [
    'lengthPrefixed({ prefix: "varint" })',
    lengthPrefixed({ prefix: "varint" }),
    [HELLO, EMPTY, new Uint8Array(300)],
    concat(unhex("05 68656c6c6f 00 ac02"), new Uint8Array(300)),
  ],
  [
    "lengthPrefixed({ offset: 1, adjust: -4, keepHeader: true })",
    lengthPrefixed({ offset: 1, adjust: -4, keepHeader: true }),
    [unhex("51 00000009 68656c6c6f"), unhex("53 00000004")],
    unhex("51 00000009 68656c6c6f 53 00000004"),
  ],
  [
    'lengthPrefixed({ prefix: "varint", offset: 1, keepHeader: true })',
    lengthPrefixed({ prefix: "varint", offset: 1, keepHeader: true }),
    [unhex("c0 00"), concat(unhex("30 8101"), new Uint8Array(129))],
    concat(unhex("c0 00 30 8101"), new Uint8Array(129)),
  ],
  ["delimited(0)", delimited(0), [HELLO, EMPTY], unhex("68656c6c6f 00 00")],
  [
    "delimited(CR LF CR LF)",
    delimited(encode("\r\n\r\n")),
    [HELLO, EMPTY, encode("a\r\nb\n\r"), encode("\r\n\r")],
    encode("hello\r\n\r\n\r\n\r\na\r\nb\n\r\r\n\r\n\r\n\r\r\n\r\n"),
  ],
  [
    "lines()",
    lines(),
    ["hello", "", "grün\rblau", "\uFEFFmark", "\uFFFD"],
    encode(
      "hello\n\ngrün\rblau\n\uFEFFmark\n\uFFFD\n",
    ),
  ],
  [
    "contentLength()",
    contentLength(),
    [HELLO, EMPTY],
    encode("Content-Length: 5\r\n\r\nhelloContent-Length: 0\r\n\r\n"),
  ],
  [
    "text(lengthPrefixed())",
    text(lengthPrefixed()),
    ["grün", "", "\uFEFF😀"],
    concat(unhex("00000005"), encode("grün"), unhex("00000000 00000007"), encode("\uFEFF😀")),
  ],
  [
    "json(lines())",
    json(lines()),
    [{ a: 1 }, null, "x\ny\r", [], "\uD800"],
    encode('{"a":1}\nnull\n"x\\ny\\r"\n[]\n"\\ud800"\n'),
  ],
  [
    "json(lengthPrefixed({ prefix: 2 }))",
    json(lengthPrefixed({ prefix: 2 })),
    [{ a: 1 }, null],
    concat(unhex("0007"), encode('{"a":1}'), unhex("0004"), encode("null")),
  ],
  ["json(contentLength())", json(contentLength()), [[1]], encode("Content-Length: 3\r\n\r\n[1]")],
];

export const LIMIT = { maxBytes: 4 };

export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}
