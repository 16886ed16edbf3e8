/**
 * Where a codec puts the bytes of a message.
 *
 * - What is put appears after everything that was put before; nothing can be taken back by the codec,
 *   and all of it is taken back when its `encode` throws.
 */
export interface ByteWriter {
  /**
   * Appends one byte.
   *
   * @param value The byte; of a larger number its lowest eight bits.
   */
  byte(value: number): void;
  /**
   * Appends an unsigned integer of four bytes.
   *
   * @param value The integer; of a larger number its lowest 32 bits.
   * @param littleEndian Whether the lowest byte comes first; by default the highest does.
   */
  uint32(value: number, littleEndian?: boolean): void;
  /**
   * Appends bytes.
   *
   * @param data The bytes. Up to 64 KiB are copied; more than that may be sent from where they are,
   * and must not change before they are sent.
   * @throws {TypeError} when it is no Uint8Array.
   */
  bytes(data: Uint8Array): void;
  /**
   * Appends a text as UTF-8.
   *
   * @param value The text.
   * @returns The number of bytes.
   * @throws {TypeError} when it has a lone surrogate, for which there are no bytes.
   */
  text(value: string): number;
  /**
   * Appends zeros, to be set before `encode` returns.
   *
   * @param size Their number.
   * @returns The place of these bytes.
   * @throws {RangeError} when it is not a whole number of at least 0.
   */
  reserve(size: number): Uint8Array;
}

/**
 * How messages become bytes, and bytes messages.
 *
 * - A codec has no state of its own: if a message is incomplete, the same bytes are given to it again
 *   together with those that came after. So one codec can be used for any number of connections.
 * - Whatever `encode` or `decode` throws reaches the caller of `send` or `receive` as it is.
 * - Its methods must not use the channel that calls them.
 */
export interface Codec<T> {
  /**
   * The most bytes that a message may have. The codec itself should check it before it allocates anything
   * for a message. If it does not, a channel still refuses an incomplete message once it has 64 KiB more
   * than that of it.
   */
  readonly maxBytes: number;
  /**
   * Appends a message, before it returns. If it throws, nothing is appended.
   *
   * @param message The message.
   * @param out Where to append it.
   */
  encode(message: T, out: ByteWriter): void;
  /**
   * Takes one message off the beginning of what has come.
   *
   * - The message may be, or contain, a view of `bytes`: they do not change any more.
   *
   * @param bytes At least one byte; the first is the first of a message.
   * @param scanned How many of them were there at the last call, if it gave `undefined`: a search for the
   * end of the message can go on from there. Else 0.
   * @returns The message and the number of bytes that it took. If it is not whole yet: `undefined`; or, if
   * the beginning tells, the number of bytes that the whole will have. Memory for them is then allocated
   * once, and the next call comes when they are there.
   */
  decode(bytes: Uint8Array, scanned: number): DecodedMessage<T> | number | undefined;
  /**
   * Takes all messages at once. It is for speed alone: without it `decode` is called for each message.
   *
   * @param bytes What has come, as in `decode`.
   * @param scanned As in `decode`.
   * @param messages Where to append the messages. Those appended before a throw are delivered first.
   * @returns The number of bytes that they took.
   */
  decodeAll?(bytes: Uint8Array, scanned: number, messages: T[]): number;
  /**
   * Makes a message of the bytes that are left at the peer's end of file. Without this method such bytes
   * are a `TruncatedMessage`; throw that yourself if they are not a message.
   *
   * @param rest At least one byte, of which `decode` made no message.
   * @returns The message.
   */
  finish?(rest: Uint8Array): T;
}

/** What {@linkcode Codec.decode} found. */
export interface DecodedMessage<T> {
  /** The message. */
  message: T;
  /** The number of bytes that it took. */
  end: number;
}

/** A codec of strings. `json()` has to know what its messages are. */
export interface TextCodec extends Codec<string> {
  /** Tells that its messages are strings. */
  readonly text: true;
}
