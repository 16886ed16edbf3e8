import type { Connection } from "../connection.ts";

/**
 * What messages are sent over: a {@linkcode Connection}, or anything that reads and writes like
 * one, such as a `Deno.Conn`. If a `write` takes only a part, it is called again with the rest.
 *
 * @category Messages
 */
export type ByteChannel =
  & Pick<Connection, "read" | "write">
  & Partial<Pick<Connection, "closeWrite" | "close">>;

/**
 * Where a codec writes the bytes of a message.
 *
 * - Bytes appear in the order in which they are appended. A codec cannot take any back. If its
 *   `encode` throws, all bytes of that message are dropped.
 *
 * @category Messages
 */
export interface ByteWriter {
  /**
   * Appends one byte.
   *
   * @param value The byte. Of a larger number, only the lowest eight bits are used.
   */
  byte(value: number): void;
  /**
   * Appends an unsigned integer of four bytes.
   *
   * @param value The integer. Of a larger number, only the lowest 32 bits are used.
   * @param littleEndian Whether the lowest byte comes first; by default the highest does.
   */
  uint32(value: number, littleEndian?: boolean): void;
  /**
   * Appends bytes.
   *
   * @param data The bytes. Up to 64 KiB are copied. More may be sent without a copy, and must not
   * change before they are sent.
   * @throws {TypeError} when it is not a `Uint8Array`.
   */
  bytes(data: Uint8Array): void;
  /**
   * Appends a text as UTF-8.
   *
   * @param value The text.
   * @returns The number of bytes.
   * @throws {TypeError} when it has a lone surrogate, which UTF-8 cannot hold.
   */
  text(value: string): number;
  /**
   * Appends zeros, which the codec can set before `encode` returns.
   *
   * @param size The number of zeros.
   * @returns The bytes, to write to.
   * @throws {RangeError} when the size is not a whole number of at least 0.
   */
  reserve(size: number): Uint8Array;
}

/**
 * Turns messages into bytes, and bytes into messages.
 *
 * - A codec keeps no state. If a message is incomplete, `decode` gets the same bytes again together
 *   with those that came after. One codec can serve any number of connections.
 * - Whatever `encode` or `decode` throws reaches the caller of `send` or `receive` unchanged. Only
 *   an error of decoding by a codec of this package is replaced by one that names the peer.
 * - Its methods must not use the channel that calls them.
 *
 * @template In The messages that it decodes.
 * @template Out The messages that it encodes, if they are of another type.
 * @category Messages
 */
export interface Codec<out In, in Out = In> {
  /**
   * The maximum number of bytes of a message. The codec should check it before it allocates
   * anything for a message. If it does not, a channel still refuses an incomplete message that
   * exceeds it by 64 KiB.
   */
  readonly maxBytes: number;
  /**
   * Appends a message before it returns. If it throws, nothing is appended.
   *
   * @param message The message.
   * @param out Where to append it.
   */
  encode(message: Out, out: ByteWriter): void;
  /**
   * Decodes the message at the beginning of the bytes.
   *
   * - The message may be a view of `bytes`, or contain one: these bytes do not change any more.
   *
   * @param bytes At least one byte; the first is the first of a message.
   * @param scanned How many of the bytes the last call saw, if it returned `undefined`: a search
   * for the end of the message can continue there. Otherwise 0.
   * @returns The message and the number of bytes that it took. If it is incomplete: `undefined`, or
   * the number of bytes of the whole message, if its beginning says so. Memory is then allocated
   * once, and `decode` is called again when the whole message is there.
   */
  decode(bytes: Uint8Array, scanned: number): DecodedMessage<In> | number | undefined;
  /**
   * Decodes many messages at once, which is faster than one by one. Optional: `decode` is called
   * for the bytes that it leaves.
   *
   * @param bytes As in `decode`.
   * @param scanned As in `decode`.
   * @param messages Where to append the messages. Those appended before a throw are delivered
   * first.
   * @returns The number of bytes that they took.
   */
  decodeAll?(bytes: Uint8Array, scanned: number, messages: In[]): number;
  /**
   * Makes a message of the bytes that are left at the peer's end of file. Without this method such
   * bytes are a `TruncatedMessage`. Throw that error yourself if they are not a message.
   *
   * @param rest At least one byte that `decode` did not take.
   * @returns The message.
   */
  finish?(rest: Uint8Array): In;
  /**
   * Skips a message for which `decode` has thrown `MessageTooLarge`. Called with the bytes of the
   * message so far, and again with each further part. These bytes are dropped, so memory stays
   * bounded. Without this method, such a message ends receiving. If you implement it, `decodeAll`
   * must leave such a message to `decode`.
   *
   * @param bytes The next bytes of the message. None if the end of file comes within it.
   * @param skipped How many of its bytes were dropped before.
   * @returns The number of bytes up to the end of the message. `undefined` if its end has not come.
   */
  skip?(bytes: Uint8Array, skipped: number): number | undefined;
}

/**
 * What {@linkcode Codec.decode} found.
 *
 * @category Messages
 */
export interface DecodedMessage<T> {
  /** The message. */
  message: T;
  /** The number of bytes that it took. */
  end: number;
}

/**
 * A codec of strings, which `json()` can tell from a codec of bytes.
 *
 * @category Messages
 */
export interface TextCodec extends Codec<string> {
  /** Marks a codec of strings. */
  readonly text: true;
}
