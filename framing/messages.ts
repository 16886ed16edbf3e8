import { checked, seenFrom } from "../_internal/base/caller_stack.ts";
import { checkCodec } from "../_internal/messages/codec_support.ts";
import { InputBuffer } from "../_internal/messages/input.ts";
import { MessageReceiver } from "../_internal/messages/receiver.ts";
import { type EndingCall, PeerContext } from "../_internal/messages/peer_context.ts";
import { resume } from "../_internal/messages/resume.ts";
import { MessageSender } from "../_internal/messages/sender.ts";
import { WRITE_EARLY } from "../_internal/messages/write_early.ts";
import { SocketConnection } from "../_internal/connection/socket_connection.ts";
import {
  checkArguments,
  checkBoolean,
  checkInteger,
  checkOptions,
  type Checks,
  checkSignal,
  duration,
  show,
} from "../_internal/base/check.ts";
import type { Connection } from "../connection.ts";
import type { ByteChannel, Codec } from "./codec.ts";
import type { EncodedMessage } from "./encoded.ts";

/**
 * Options of {@linkcode messages}.
 *
 * @category Messages
 */
export interface MessagesOptions {
  /**
   * The number of bytes waiting to be written from which on `send` does not resolve. It still takes
   * messages, so a program that does not await it is not held back.
   *
   * @default {1 MiB}
   */
  maxPending?: number | undefined;
  /**
   * How long, in milliseconds, a message may take from the first read that brings a part of it
   * until it is complete. Only time in which a call receives counts. After that receiving fails
   * with `Deno.errors.TimedOut`. Set it for untrusted peers, which could hold a connection with
   * half a message.
   *
   * @default {Infinity}
   */
  frameTimeout?: number | undefined;
  /**
   * How long, in milliseconds, messages may wait for the peer to read anything. After that sending
   * and receiving fail with `Deno.errors.TimedOut`, and the connection is closed. A peer that reads
   * slowly is not closed. On a pair it must read up to 256 KiB within the time, because smaller
   * progress cannot be seen.
   *
   * @default {Infinity}
   */
  writeTimeout?: number | undefined;
  /**
   * Whether to reuse the memory of a message for the next one. A received message is then valid
   * only until the next `receive` or turn of a loop. Nothing is allocated for received bytes, which
   * more than doubles the speed of messages of a mebibyte. It makes no difference to texts and
   * JSON.
   *
   * @default {false}
   */
  reuse?: boolean | undefined;
  /**
   * Ends receiving between two messages, once nothing is left to read: pass `info.draining` of a
   * server's handler. Whole messages that have come are still delivered, and one that has begun is
   * completed. Sending continues.
   */
  draining?: AbortSignal | undefined;
}

/**
 * Options of {@linkcode Messages.receive}.
 *
 * @category Messages
 */
export interface ReceiveOptions {
  /**
   * Cancels the call: its promise rejects with the signal's reason. No message is lost. The next
   * call receives it.
   */
  signal?: AbortSignal | undefined;
}

/**
 * A connection of whole messages, which {@linkcode messages} returns.
 *
 * - **Sending** appends to a buffer. All messages of one turn of the event loop leave in one write.
 *   More than 64 KiB leave at once, and so does the first answer after a read.
 * - **Receiving**: `receive`, iteration and `batches()` can be mixed, and several calls can wait at
 *   once. Each message goes to one of them, in the order of the calls. Breaking out of a loop
 *   changes nothing else: the next call receives the next message.
 * - **Failures of receiving** are final. Messages before it are delivered, and then each `receive`
 *   rejects with the same error. To continue after a line that is not JSON, receive `lines()` and
 *   parse them yourself. Sending is not affected, so a last answer can be sent.
 * - **Failures of sending** are final as well, unless the codec refuses a message: then nothing of
 *   it is appended, and the next one can be sent. Receiving is not affected, so what the peer sent
 *   before it left can be received.
 * - **Fairness**: about a hundred messages are decoded at a time. A peer that floods tiny ones
 *   takes a quarter of a millisecond at a time, and up to one if nothing else is due. Then other
 *   connections are served.
 * - **Memory**: small received bytes are views of the memory that they were read into. It is not
 *   used again, and lives as long as one of them: 16 to 256 KiB. To keep a small message for long,
 *   or to transfer it to a worker, make a copy: `message.slice()`. A transfer detaches all messages
 *   in that memory. Receiving fails with `TypeError` if one of them was not received, or if a
 *   message is awaited meanwhile. Bytes of 16 to 256 KiB have their own memory, and so do larger
 *   ones with a length in front. Small ones that came with them, and codecs of your own, are the
 *   exceptions. JSON values and texts have their own memory, but the texts of `lines()` may be
 *   slices of a longer one.
 *
 * @template In What is received.
 * @template Out What is sent, if it is of another type.
 * @category Messages
 */
export interface Messages<out In, in Out = In>
  extends AsyncIterable<In>, Disposable, AsyncDisposable {
  /**
   * Sends a message after those sent before. It is encoded before this returns, except for bytes of
   * 64 KiB or more, which must not change before the promise resolves.
   *
   * - It resolves at once while fewer than `maxPending` bytes wait to be written. For bytes of 64
   *   KiB or more, it waits until the kernel has them, except in `sendEncoded()`. In both cases the
   *   peer may not have read them yet.
   * - A rejection that is not awaited does not end the process.
   *
   * @param message The message.
   * @throws {TypeError} when it is of the wrong kind for the codec, has lone surrogates, or the
   * buffer of its bytes is detached or resized before they are sent. After the last of these, later
   * messages reject, too.
   * @throws {RangeError} when the codec cannot frame it: `MessageTooLarge`, or a delimiter in it.
   * @throws {Deno.errors.BrokenPipe} when the peer has closed the connection. `unsent` has all
   * bytes that the kernel did not take, of this message and of earlier ones that had resolved.
   * @throws {Deno.errors.TimedOut} when the peer has read nothing for `writeTimeout`, also with
   * `unsent`.
   * @throws {ConnectionClosed} when `close()`, `closeWrite()` or `detach()` was called.
   */
  send(message: Out): Promise<void>;
  /**
   * Sends a message that {@linkcode encodeMessage} has made, as {@linkcode Messages.send} does. It
   * resolves at once while fewer than `maxPending` bytes wait, however large the message is.
   *
   * @param message The message, encoded by the codec of this channel.
   * @throws {TypeError} when it is not encoded, or by another codec.
   * @throws {unknown} as `send` does.
   */
  sendEncoded(message: EncodedMessage<Out>): Promise<void>;
  /**
   * The number of bytes that wait to be written. It grows while the peer does not read: a program
   * that sends to many can close such a connection. A write counts until all of it is done.
   */
  readonly pending: number;
  /**
   * Waits until the kernel has everything that was sent.
   *
   * @throws {Deno.errors.BrokenPipe} as `send` does.
   * @throws {ConnectionClosed} when `close()` was called and something was left, or after
   * `detach()`.
   */
  flush(): Promise<void>;
  /**
   * Receives the next message. Resolves to `undefined` at the end: the peer's end of file, or
   * `draining`.
   *
   * @param options A signal that cancels the call.
   * @returns The message, or `undefined` at the end.
   * @throws {MessageTooLarge} when the message is larger than the codec allows.
   * @throws {TruncatedMessage} when the end of file comes within a message.
   * @throws {Deno.errors.InvalidData} when the bytes are not a message.
   * @throws {TypeError} when the message was detached with an earlier one.
   * @throws {Deno.errors.TimedOut} when `frameTimeout` or `writeTimeout` is over.
   * @throws {Deno.errors.ConnectionReset} when the peer closed before it read everything that was
   * sent.
   * @throws {ConnectionClosed} when `close()` or `detach()` was called.
   * @throws {unknown} the reason of `signal` when it aborts.
   */
  receive(options?: ReceiveOptions): Promise<In | undefined>;
  /**
   * Receives arrays of all messages that have come together, which is the fastest way. A batch has
   * at least one message, and at most a few thousand.
   *
   * @returns The batches. They can be iterated several times, as the messages themselves.
   */
  batches(): AsyncIterable<In[]>;
  /**
   * Receives the messages one by one, until the end. After `close()` or `detach()` on this side the
   * iteration ends. It throws all other failures of `receive`.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<In>;
  /**
   * Sends the end of file after everything that was sent. Receiving continues. Idempotent.
   *
   * @throws {Deno.errors.BrokenPipe} as `send` does.
   * @throws {ConnectionClosed} when `close()` was called, before or while it waits, or after
   * `detach()`.
   */
  closeWrite(): Promise<void>;
  /**
   * Ends the messages, and returns the connection: for another codec, or for raw bytes after an
   * upgrade.
   *
   * - **Order**: everything that was sent leaves before what you write to the connection. Call it
   *   right after you received the message that announces the switch. The connection then returns
   *   all bytes behind that message first, also those that the codec has refused. (A batch may
   *   contain messages behind it.)
   * - **Pending calls**: a `receive` rejects with `ConnectionClosed`, and an iteration ends. The
   *   connection returns what their read brings. A `send`, `flush` or `closeWrite` settles as it
   *   would have.
   * - **Limits**: `frameTimeout`, `writeTimeout` and `draining` have no effect any more.
   * - Later calls reject with `ConnectionClosed`. `close()` and disposal do nothing: the connection
   *   is yours to close.
   *
   * @returns The connection that `messages` was called with. For any other channel, a new
   * connection, which owns the channel. Its addresses have a path only if the channel has one.
   * @throws {ConnectionClosed} when `close()` or `detach()` was called before.
   * @throws {TypeError} when the codec of this channel is encoding a message, or what was not
   * received was detached with an earlier message.
   *
   * @example Lines until both sides agree on another codec
   * ```ts
   * import { lengthPrefixed, lines, messages, socketpair } from "@uds/uds";
   * import { assertEquals } from "@std/assert";
   *
   * const [a, b] = await socketpair();
   * const asking = messages(a, lines());
   * const answering = messages(b, lines());
   * await asking.send("BINARY");
   * await using client = messages(asking.detach(), lengthPrefixed());
   * await client.send(new Uint8Array([10, 13]));
   *
   * assertEquals(await answering.receive(), "BINARY");
   * await using server = messages(answering.detach(), lengthPrefixed());
   * assertEquals(await server.receive(), new Uint8Array([10, 13]));
   * ```
   */
  detach(): Connection;
  /**
   * Closes the connection at once. What was not written is dropped, and pending calls reject with
   * `ConnectionClosed`. Idempotent; so is disposal.
   *
   * `await using` first waits for everything that was sent, for at most 5 seconds. It rejects if
   * something was lost and no call has reported it: the peer has closed the connection, or did not
   * read.
   */
  close(): void;
}

/** Enough to keep the kernel busy, and what a thousand stalled peers may cost. */
const MAX_PENDING_BYTES = 1024 * 1024;

const CHECKS: Checks<MessagesOptions> = {
  maxPending: (_, value) => checkInteger("maxPending (bytes)", value, 1, Number.MAX_SAFE_INTEGER),
  frameTimeout: duration(1),
  writeTimeout: duration(1),
  reuse: checkBoolean,
  draining: checkSignal,
};

const RECEIVE_CHECKS: Checks<ReceiveOptions> = { signal: checkSignal };

/**
 * Sends and receives whole messages over a connection.
 *
 * - The {@linkcode Messages} own the connection from now on. Closing them closes it, and no other
 *   code may read from it or write to it.
 * - If the connection has no `closeWrite` or `close`, the peer does not notice those of the
 *   channel.
 *
 * **Permissions**: none.
 *
 * @template In What is received.
 * @template Out What is sent.
 * @param conn The connection.
 * @param codec How messages become bytes.
 * @param options Limits, and when to end.
 * @returns The channel.
 * @throws {TypeError} when an argument is of the wrong kind, or other messages own the connection.
 * @throws {RangeError} when a number is out of range.
 *
 * @example A server that answers, and ends between two messages
 * ```ts
 * import { connect, json, lines, messages, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/sum.sock`;
 * const numbers = json<number[]>(lines({ maxBytes: 1000 }));
 * await using _server = await serve(path, async (conn, { draining }) => {
 *   await using client = messages(conn, numbers, { draining });
 *   for await (const [a = 0, b = 0] of client) await client.send([a + b]);
 * });
 *
 * await using server = messages(await connect(path), numbers);
 * await server.send([1, 2]);
 * assertEquals(await server.receive(), [3]);
 * ```
 *
 * @category Messages
 */
export function messages<In, Out = In>(
  conn: ByteChannel,
  codec: Codec<In, Out>,
  options: MessagesOptions = {},
): Messages<In, Out> {
  return checked(messages, () => {
    checkArguments("messages", arguments, 3, "messages(conn, codec, { maxPending })");
    checkConnection(conn);
    checkCodec("codec", codec);
    checkOptions("messages", options, CHECKS);
    return new MessageChannel(conn, codec, options);
  });
}

function checkConnection(conn: ByteChannel): void {
  if (typeof conn?.read !== "function" || typeof conn.write !== "function") {
    throw new TypeError(
      `Invalid connection: expected something with read and write, got ${show(conn)}`,
    );
  }
  // Its read() and write() do not return promises, so every message would look like the end.
  if (typeof (conn as { pipe?: unknown }).pipe === "function") {
    throw new TypeError(
      `Invalid connection: expected a Connection, got a stream of Node.js (${show(conn)}). ` +
        `Use connect() or serve() instead of node:net`,
    );
  }
}

/** The connections that a channel owns. Two would share out the bytes. */
const owned = new WeakSet<ByteChannel>();

/** A connection of whole messages, which it owns: a sender and a receiver. */
class MessageChannel<In, Out> implements Messages<In, Out> {
  readonly #conn: ByteChannel;
  readonly #sender: MessageSender<Out>;
  readonly #receiver: MessageReceiver<In>;
  #endedBy: EndingCall | undefined;

  constructor(conn: ByteChannel, codec: Codec<In, Out>, options: MessagesOptions) {
    const {
      maxPending = MAX_PENDING_BYTES,
      frameTimeout = Infinity,
      writeTimeout = Infinity,
    } = options;
    if (owned.has(conn)) {
      throw new TypeError(
        "Invalid connection: a channel of messages() or rpc() owns it already. Use that one, or " +
          "call detach() of its messages first",
      );
    }
    owned.add(conn);
    this.#conn = conn;
    this.#sender = new MessageSender(conn, codec, maxPending, writeTimeout, (failure) => {
      this.#receiver.fail(failure);
      conn.close?.();
    });
    const input = new InputBuffer(codec, options.reuse);
    this.#receiver = new MessageReceiver(
      conn,
      input,
      this.#sender,
      frameTimeout,
      options.draining,
    );
  }

  send(message: Out): Promise<void> {
    return this.#sender.send(message);
  }

  sendEncoded(message: EncodedMessage<Out>): Promise<void> {
    return this.#sender.sendEncoded(message);
  }

  get pending(): number {
    return this.#sender.pending;
  }

  [WRITE_EARLY](): void {
    this.#sender.writeAll();
  }

  flush(): Promise<void> {
    return this.#sender.flush();
  }

  receive(options?: ReceiveOptions): Promise<In | undefined> {
    if (options === undefined) return this.#receiver.receive();
    try {
      checkOptions("receive", options, RECEIVE_CHECKS);
      options.signal?.throwIfAborted();
    } catch (error) {
      return Promise.reject(seenFrom(this.receive, error));
    }
    return this.#receiver.receive(options.signal);
  }

  batches(): AsyncIterable<In[]> {
    return this.#receiver.batches();
  }

  [Symbol.asyncIterator](): AsyncIterableIterator<In> {
    return this.#receiver.messages();
  }

  closeWrite(): Promise<void> {
    return this.#sender.closeWrite();
  }

  detach(): Connection {
    try {
      if (this.#endedBy !== undefined) {
        throw new PeerContext("detach", this.#conn).closed(this.#endedBy);
      }
      const conn = resume(this.#conn, this.#receiver, this.#sender);
      this.#endedBy = "detach()";
      owned.delete(this.#conn);
      return conn;
    } catch (error) {
      throw seenFrom(this.detach, error);
    }
  }

  close(): void {
    if (this.#endedBy !== undefined) return;
    this.#endedBy = "close()";
    owned.delete(this.#conn);
    this.#sender.close();
    this.#receiver.close();
    this.#conn.close?.();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#endedBy !== undefined) return;
    // An earlier channel may have been detached before all that it sent was written.
    const earlier = this.#conn instanceof SocketConnection ? this.#conn.flush() : undefined;
    const [failure] = await Promise.all([this.#sender.finish(), earlier]);
    this.close();
    if (failure !== undefined) throw seenFrom(this[Symbol.asyncDispose], failure);
  }
}
