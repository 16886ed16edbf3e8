import { checked } from "../_internal/base/caller_stack.ts";
import {
  checkBytes,
  malformed,
  MAX_BYTES,
  maxBytesUpTo,
  tooLarge,
  withContents,
} from "../_internal/messages/codec_support.ts";
import { checkArguments, checkOptions, type Checks } from "../_internal/base/check.ts";
import type { Codec } from "./codec.ts";

/**
 * Options of {@linkcode contentLength}.
 *
 * @category Messages
 */
export interface ContentLengthOptions {
  /**
   * The maximum number of bytes of a message, without its header block.
   *
   * @default {16 MiB}
   */
  maxBytes?: number | undefined;
}

const CHECKS: Checks<ContentLengthOptions> = { maxBytes: maxBytesUpTo() };

/** The maximum size of a header block. The two headers that the protocol has need far less. */
const MAX_HEADER_BYTES = 8192;
const LF = 10;
const CR = 13;
const END_OF_HEADERS = "\r\n\r\n";
const ASCII = new TextDecoder("latin1");

/**
 * Frames messages by a header block with their length: the base protocol of language servers (LSP)
 * and debug adapters (DAP).
 *
 * ```text
 * Content-Length: 5\r\n   a header; case does not count
 * \r\n                    the end of the headers
 * hello                   the message
 * ```
 *
 * - **Content**: any bytes, or none.
 * - **A received message** is a view of the memory that it was read into.
 * - **Headers**: there must be exactly one `Content-Length`, of decimal digits. Others, such as
 *   `Content-Type`, are skipped.
 * - **Malformed**: `Deno.errors.InvalidData` when `Content-Length` is absent, repeated or not a
 *   number, or when a line is not a header or ends without a carriage return.
 * - **Too large**: `MessageTooLarge`, from `send` and, as soon as the headers have come, from
 *   `receive`. No memory is allocated for the message. A header block of more than 8,192 bytes is
 *   too large as well.
 * - **Cut short**, within the headers or the message: `TruncatedMessage` with the bytes that came.
 *
 * @param options The limit.
 * @returns The codec.
 * @throws {TypeError} when an option is of the wrong kind.
 * @throws {RangeError} when `maxBytes` is not a whole number from 1 to 2^32.
 *
 * @example A language server's request
 * ```ts
 * import { contentLength, json, messages, socketpair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = await socketpair();
 * await using client = messages(a, json(contentLength()));
 * await using server = messages(b, json(contentLength()));
 * await client.send({ jsonrpc: "2.0", id: 1, method: "shutdown" });
 * assertEquals(await server.receive(), { jsonrpc: "2.0", id: 1, method: "shutdown" });
 * ```
 *
 * @category Messages
 */
export function contentLength(options: ContentLengthOptions = {}): Codec<Uint8Array> {
  checked(contentLength, () => {
    checkArguments("contentLength", arguments, 1, "contentLength({ maxBytes })");
    checkOptions("contentLength", options, CHECKS);
  });
  const { maxBytes = MAX_BYTES } = options;
  const codec: Codec<Uint8Array> = {
    maxBytes,
    encode(message, out) {
      checkBytes(message, maxBytes);
      out.text(`Content-Length: ${message.length}${END_OF_HEADERS}`);
      out.bytes(message);
    },
    decode(bytes, scanned) {
      const start = endOfHeaders(bytes, scanned);
      if (start === undefined) return undefined;
      const length = lengthIn(bytes.subarray(0, start));
      if (length > maxBytes) throw tooLarge("decode", length, maxBytes);
      const end = start + length;
      return end > bytes.length ? end : { message: bytes.subarray(start, end), end };
    },
  };
  return withContents(codec, "bytes");
}

/** Returns the length that a header block contains. */
function lengthIn(headers: Uint8Array): number {
  let length: number | undefined;
  for (const line of ASCII.decode(headers).split("\r\n")) {
    if (line === "") continue;
    // The value is matched apart: blanks beside "any characters" would make this quadratic.
    const [, name, value] = line.match(/^([!#-'*+\-.^-z|~\w]+):(.*)$/) ?? [];
    if (name === undefined || value === undefined) {
      throw malformed(`${JSON.stringify(line.slice(0, 50))} is not a header`);
    }
    if (name.toLowerCase() !== "content-length") continue;
    if (length !== undefined) throw malformed("it has two Content-Length headers");
    const [, digits] = value.match(/^[ \t]*(\d+)[ \t]*$/) ?? [];
    if (digits === undefined) {
      throw malformed(`its Content-Length is ${JSON.stringify(value.trim().slice(0, 50))}`);
    }
    length = Number(digits);
  }
  if (length === undefined) throw malformed("it has no Content-Length header");
  return length;
}

/** Returns where the message begins, if all of its headers are there. */
function endOfHeaders(bytes: Uint8Array, scanned: number): number | undefined {
  // The last call saw a line feed there already, unless it was the last byte but one.
  let at = bytes.indexOf(LF, Math.max(0, scanned - 1));
  while (at >= 0 && at < MAX_HEADER_BYTES) {
    if (bytes[at - 1] !== CR) {
      throw malformed("a line of its headers ends without a carriage return");
    }
    if (at === 1 || bytes[at - 2] === LF) return at + 1;
    at = bytes.indexOf(LF, at + 1);
  }
  if (bytes.length > MAX_HEADER_BYTES) {
    const has = "its header block has more than";
    throw tooLarge("decode", bytes.length, MAX_HEADER_BYTES, has, "No option raises it");
  }
  return undefined;
}
