import {
  checkBytes,
  malformed,
  MAX_BYTES,
  maxBytesUpTo,
  tooLarge,
} from "../_internal/messages/codec_support.ts";
import { checkArguments, checkOptions, type Checks } from "../_internal/base/check.ts";
import type { ByteWriter, Codec, DecodedMessage } from "./codec.ts";

/** Options of {@linkcode contentLength}. */
export interface ContentLengthOptions {
  /**
   * The most bytes of a message, without its header block.
   *
   * @default {16 MiB}
   */
  maxBytes?: number;
}

/** The most bytes of a header block: far more than the two headers that the protocol has. */
const MAX_HEADERS = 8192;
const LF = 10;
const CR = 13;
const END_OF_HEADERS = "\r\n\r\n";
const ASCII = new TextDecoder("latin1");

/**
 * Frames messages by a header block with their length: the base protocol of language servers (LSP) and
 * debug adapters (DAP).
 *
 * ```text
 * Content-Length: 5\r\n   a header; case does not count
 * \r\n                    the end of the headers
 * hello                   the message
 * ```
 *
 * - **Any bytes** can be in a message; it may be empty.
 * - **A message that comes in** is a view of the memory that it was read into.
 * - **Headers**: there must be exactly one `Content-Length`, of decimal digits. Others, such as
 *   `Content-Type`, are skipped.
 * - **Malformed**: `Deno.errors.InvalidData` where `Content-Length` is absent, repeated or no number, a
 *   line is no header, or ends without a carriage return.
 * - **Too large**: `MessageTooLarge`, on `send` and, as soon as the headers have come, on `receive`;
 *   nothing is allocated for it. So is a header block of more than 8,192 bytes, with an end or without.
 * - **Cut short**, within the headers or the message: `TruncatedMessage` with what there is.
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
 */
export function contentLength(options: ContentLengthOptions = {}): Codec<Uint8Array> {
  checkArguments("contentLength", arguments, 1, "contentLength({ maxBytes })");
  checkOptions("contentLength", options, CHECKS);
  return new ContentLength(options.maxBytes ?? MAX_BYTES);
}

const CHECKS: Checks<ContentLengthOptions> = { maxBytes: maxBytesUpTo() };

class ContentLength implements Codec<Uint8Array> {
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  encode(message: Uint8Array, out: ByteWriter): void {
    checkBytes(message);
    if (message.length > this.maxBytes) throw tooLarge("encode", message.length, this.maxBytes);
    out.text(`Content-Length: ${message.length}${END_OF_HEADERS}`);
    out.bytes(message);
  }

  decode(bytes: Uint8Array, scanned: number): DecodedMessage<Uint8Array> | number | undefined {
    const headers = endOfHeaders(bytes, scanned);
    if (headers === undefined) return undefined;
    const end = headers + this.#length(bytes.subarray(0, headers));
    if (end > bytes.length) return end;
    return { message: bytes.subarray(headers, end), end };
  }

  #length(headers: Uint8Array): number {
    let length: number | undefined;
    for (const line of ASCII.decode(headers).split("\r\n")) {
      if (line === "") continue;
      // Blanks are matched apart: beside "any characters" they would be tried in every division, and a line
      // of 8,000 of them would take minutes.
      const [, name, value] = line.match(/^([!#-'*+\-.^-z|~\w]+):(.*)$/) ?? [];
      if (name === undefined || value === undefined) {
        throw malformed(`${JSON.stringify(line.slice(0, 50))} is no header`);
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
    if (length > this.maxBytes) throw tooLarge("decode", length, this.maxBytes);
    return length;
  }
}

/** Where the message begins, if all of its headers are there. */
function endOfHeaders(bytes: Uint8Array, scanned: number): number | undefined {
  // A line feed that was seen before is looked at again only if it was the last byte but two.
  let at = bytes.indexOf(LF, Math.max(0, scanned - 1));
  while (at >= 0 && at < MAX_HEADERS) {
    if (bytes[at - 1] !== CR) {
      throw malformed("a line of its headers ends without a carriage return");
    }
    if (at === 1 || bytes[at - 2] === LF) return at + 1;
    at = bytes.indexOf(LF, at + 1);
  }
  if (bytes.length > MAX_HEADERS) {
    throw tooLarge("decode", bytes.length, MAX_HEADERS, "its header block", true);
  }
  return undefined;
}
