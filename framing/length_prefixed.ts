import { checked } from "../_internal/base/caller_stack.ts";
import {
  checkBytes,
  malformed,
  MAX_BYTES,
  maxBytesUpTo,
  tooLarge,
  withContents,
} from "../_internal/messages/codec_support.ts";
import {
  checkArguments,
  checkBoolean,
  checkOptions,
  type Checks,
  integer,
  show,
} from "../_internal/base/check.ts";
import type { ByteWriter, Codec } from "./codec.ts";

/**
 * Options of {@linkcode lengthPrefixed}.
 *
 * @category Messages
 */
export interface LengthPrefixedOptions {
  /**
   * The number of bytes of the length. Most protocols have 4. A `"varint"` has one to ten bytes of
   * seven bits each, the lowest first, and the highest bit of every byte but the last is set.
   *
   * @default {4}
   */
  prefix?: 1 | 2 | 3 | 4 | 8 | "varint" | undefined;
  /**
   * Whether the lowest byte of the length comes first. By default the highest does, as in network
   * protocols. Formats that began on PCs often have the lowest byte first. It has no effect on a
   * varint.
   *
   * @default {false}
   */
  littleEndian?: boolean | undefined;
  /**
   * The number of bytes before the length, such as 1 for a type. It needs `keepHeader`.
   *
   * @default {0}
   */
  offset?: number | undefined;
  /**
   * What to add to the length to get the number of bytes that follow it. If the length counts
   * itself, this is negative: -4 for four bytes. If it does not count a header that follows, this
   * is the size of that header.
   *
   * @default {0}
   */
  adjust?: number | undefined;
  /**
   * Whether a message has its header: the bytes before the length, and the length. `send` writes
   * the right length over the one in the message, so that any bytes can hold its place. For a
   * varint, one zero does.
   *
   * @default {false}
   */
  keepHeader?: boolean | undefined;
  /**
   * The maximum number of bytes of a message. A larger one is refused as soon as its length has
   * come. A prefix of one, two or three bytes cannot express more than 255, 65,535 or 16,777,215.
   *
   * @default {16 MiB}
   */
  maxBytes?: number | undefined;
}

/** The largest header of a protocol is far smaller. */
const MAX_HEADER_BYTES = 65_536;
/** A varint of ten bytes has more than 64 bits. */
const MAX_VARINT_BYTES = 10;
const PREFIXES: readonly unknown[] = [1, 2, 3, 4, 8, "varint"];

const CHECKS: Checks<LengthPrefixedOptions> = {
  prefix(_, value) {
    if (PREFIXES.includes(value)) return;
    throw new TypeError(
      `Invalid prefix: expected 1, 2, 3, 4 or 8 bytes, or "varint", got ${show(value)}`,
    );
  },
  littleEndian: checkBoolean,
  offset: integer(0, MAX_HEADER_BYTES),
  adjust: integer(-MAX_HEADER_BYTES, MAX_HEADER_BYTES),
  keepHeader: checkBoolean,
  maxBytes: maxBytesUpTo(),
};

/**
 * Frames messages by their length, an unsigned integer in front of them.
 *
 * ```text
 * 00 00 00 05  68 65 6c 6c 6f   "hello", with the default prefix of 4 bytes
 * └─ length ─┘ └── message ──┘
 * 00 00 00 00                   the empty message
 *
 * ac 02  …                      prefix "varint": a message of 300 bytes (Protocol Buffers)
 *
 * 05 00 00  00  68 65 6c 6c 6f  prefix 3, littleEndian, adjust 1: the length does not
 * └length┘ └──── message ────┘  count the number of the packet (MySQL)
 *
 * 51  00 00 00 0a  68 65 6c 6c 6f 00   offset 1, adjust -4, keepHeader: the length
 *     └─ length ─┘                     counts itself, but not the type (PostgreSQL)
 * └──────────── message ───────────┘
 * ```
 *
 * - **Content**: any bytes, or none. With an `adjust` above 0, at least that many.
 * - **A received message** is a view of the memory that it was read into.
 * - **Too large**: `MessageTooLarge`, from `send` and, as soon as the length has come, from
 *   `receive`. Its `size` is what the length announces. No memory is allocated for the message. In
 *   eight bytes, every length of 2^53 and more is too large.
 * - **Cut short**, within the length or the message: `TruncatedMessage` with the bytes that came.
 * - **Malformed**: `Deno.errors.InvalidData` when a length that counts itself is less than its own
 *   size, or a varint has more than ten bytes. Otherwise any bytes are a length. Text that is read
 *   as one is mostly too large.
 *
 * @param options The form of the length, what it counts, and the limit.
 * @returns The codec.
 * @throws {TypeError} when an option is of the wrong kind, or `offset` lacks `keepHeader`.
 * @throws {RangeError} when `maxBytes` is not a whole number from 1 to 2^32, `offset` one from 0 to
 * 65,536, or `adjust` one from -65,536 to 65,536.
 *
 * @example Usage
 * ```ts
 * import { lengthPrefixed, messages, socketpair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = await socketpair();
 * await using sender = messages(a, lengthPrefixed());
 * await using receiver = messages(b, lengthPrefixed());
 * await sender.send(new Uint8Array([1, 2, 3]));
 * assertEquals(await receiver.receive(), new Uint8Array([1, 2, 3]));
 * ```
 *
 * @example The messages of PostgreSQL
 * ```ts
 * import { lengthPrefixed, messages, socketpair } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const frames = lengthPrefixed({ offset: 1, adjust: -4, keepHeader: true });
 * // The four zeros are the place of the length.
 * const query = new TextEncoder().encode("Q\0\0\0\0select 1\0");
 *
 * const [a, b] = await socketpair();
 * await using client = messages(a, frames);
 * await using server = messages(b, frames);
 * await client.send(query);
 * const [type, ...rest] = (await server.receive())!;
 * assertEquals(type, "Q".charCodeAt(0));
 * assertEquals(rest.slice(0, 4), [0, 0, 0, 13]);
 * ```
 *
 * @category Messages
 */
export function lengthPrefixed(options: LengthPrefixedOptions = {}): Codec<Uint8Array> {
  checked(lengthPrefixed, () => {
    checkArguments("lengthPrefixed", arguments, 1, "lengthPrefixed({ prefix, maxBytes })");
    checkOptions("lengthPrefixed", options, CHECKS);
    checkHeader(options);
  });
  const { prefix = 4, littleEndian = false, offset = 0, adjust = 0, keepHeader = false } = options;
  const isVarint = prefix === "varint";
  const most = isVarint ? Infinity : 2 ** (8 * prefix) - 1;
  const kept = keepHeader && !isVarint ? offset + prefix : 0;
  const wanted = options.maxBytes ?? MAX_BYTES;
  const maxBytes = Math.min(wanted, most + adjust + kept);
  const remedy = maxBytes < wanted ? "Choose a larger prefix" : undefined;
  const header = isVarint ? 0 : offset + prefix;
  const isUsual = prefix === 4 && !littleEndian;

  /** Returns where the length ends, or more than there is if it has not come. */
  function endOfLength(bytes: Uint8Array, at: number): number {
    return isVarint ? endOfVarint(bytes, at + offset) : at + header;
  }

  /** Returns the number of bytes after the length, which begins and ends at these places. */
  function sizeAfter(bytes: Uint8Array, at: number, end: number): number {
    let length = 0;
    if (isUsual) length = uint32(bytes, at);
    else if (isVarint || littleEndian) {
      const base = isVarint ? 128 : 256;
      for (let i = end - 1; i >= at; i--) length = length * base + bytes[i]! % base;
    } else {
      for (let i = at; i < end; i++) length = length * 256 + bytes[i]!;
    }
    const size = length + adjust;
    if (size < 0) throw malformed(`its length is ${length}, less than the ${-adjust} it counts`);
    const whole = keepHeader ? size + end - at + offset : size;
    // Eight bytes that no number holds exactly are too large as well.
    if (whole > maxBytes) throw tooLarge("decode", whole, maxBytes, "it announces");
    return size;
  }

  function writeLength(length: number, out: ByteWriter): void {
    if (length < 0 || length > most) {
      throw new RangeError(`Cannot encode a message: its length cannot be ${length}`);
    }
    // The usual prefix: this saves a quarter of the time of a small message.
    if (prefix === 4) return out.uint32(length, littleEndian);
    if (isVarint) {
      let rest = length;
      for (; rest >= 128; rest = Math.floor(rest / 128)) out.byte(rest % 128 + 128);
      return out.byte(rest);
    }
    for (let i = 0; i < prefix; i++) {
      const place = littleEndian ? i : prefix - 1 - i;
      // A shift takes only 32 bits.
      out.byte(place < 4 ? length >>> (8 * place) : Math.floor(length / 2 ** (8 * place)));
    }
  }

  const codec: Codec<Uint8Array> = {
    maxBytes,
    encode(message, out) {
      checkBytes(message, maxBytes, remedy);
      if (!keepHeader) {
        writeLength(message.length - adjust, out);
        return out.bytes(message);
      }
      const end = endOfLength(message, 0);
      if (end > message.length) {
        throw new RangeError(
          `Cannot encode a message: its ${message.length} bytes are less than its header`,
        );
      }
      out.bytes(message.subarray(0, offset));
      writeLength(message.length - end - adjust, out);
      out.bytes(message.subarray(end));
    },
    decode(bytes) {
      const start = endOfLength(bytes, 0);
      if (start > bytes.length) return undefined;
      const end = start + sizeAfter(bytes, offset, start);
      return end > bytes.length
        ? end
        : { message: bytes.subarray(keepHeader ? 0 : start, end), end };
    },
    decodeAll(bytes, _scanned, messages) {
      const { buffer, byteOffset, length: available } = bytes;
      let at = 0;
      for (;;) {
        const start = endOfLength(bytes, at);
        if (start > available) break;
        const end = start + sizeAfter(bytes, at + offset, start);
        if (end > available) break;
        const begin = keepHeader ? at : start;
        // Faster than subarray(), and most of what a small message costs.
        messages.push(new Uint8Array(buffer, byteOffset + begin, end - begin));
        at = end;
      }
      return at;
    },
  };
  return withContents(codec, "bytes");
}

/** Returns where a varint ends, or `Infinity` if not all of it is there. */
function endOfVarint(bytes: Uint8Array, at: number): number {
  for (let end = at; end < bytes.length; end++) {
    if (bytes[end]! < 128) return end + 1;
    if (end - at + 1 === MAX_VARINT_BYTES) {
      throw malformed(`its length has more than ${MAX_VARINT_BYTES} bytes`);
    }
  }
  return Infinity;
}

/** Returns the usual length: this saves a fifth of the time of a small message. */
function uint32(bytes: Uint8Array, at: number): number {
  const high = (bytes[at]! << 24) | (bytes[at + 1]! << 16);
  return (high | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}

function checkHeader({ offset = 0, keepHeader = false }: LengthPrefixedOptions): void {
  if (offset === 0 || keepHeader) return;
  throw new TypeError(
    `Invalid offset: the message would lack the ${offset} bytes before its length. ` +
      "Set keepHeader as well",
  );
}
