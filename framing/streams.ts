import { checkCodec } from "../_internal/messages/codec_support.ts";
import { InputBuffer } from "../_internal/messages/input.ts";
import { checkArguments, show } from "../_internal/base/check.ts";
import { BLOCK_SIZE, OutputBuffer } from "../_internal/messages/output.ts";
import type { Codec } from "./codec.ts";

/**
 * Makes a stream that turns messages into bytes:
 * `source.pipeThrough(encodeStream(codec)).pipeTo(conn.writable)`.
 *
 * - What is written in one turn of the event loop, or while the reader is busy, is put together into chunks
 *   of 64 KiB. Bytes of that length and more are passed on from where they are, and must not be changed
 *   afterwards.
 * - **Backpressure**: a write waits while 64 KiB wait to be read.
 * - A message that the codec refuses fails both sides of the stream with what the codec throws; the bytes of
 *   the messages before it are lost, as far as they were not read.
 *
 * **Permissions**: none.
 *
 * @param codec How messages become bytes.
 * @returns The stream.
 * @throws {TypeError} when it is not a codec.
 *
 * @example Usage
 * ```ts
 * import { encodeStream, json, lines } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const bytes = ReadableStream.from([{ id: 1 }, { id: 2 }])
 *   .pipeThrough(encodeStream(json(lines())));
 * assertEquals(await new Response(bytes).text(), '{"id":1}\n{"id":2}\n');
 * ```
 */
export function encodeStream<T>(codec: Codec<T>): TransformStream<T, Uint8Array> {
  checkArguments("encodeStream", arguments, 1, "encodeStream(codec)");
  checkCodec("codec", codec);
  const out = new OutputBuffer();
  let input: WritableStreamDefaultController;
  let output: ReadableStreamDefaultController<Uint8Array>;
  /** Somebody reads, and there is nothing. */
  let wanted: PromiseWithResolvers<void> | undefined;
  /** A write waits until there is less. */
  let full: PromiseWithResolvers<void> | undefined;
  let immediate: ReturnType<typeof setImmediate> | undefined;
  let closing = false;

  /** Passes a chunk on, or the end; tells whether there was one. */
  const pass = (): boolean => {
    const segment = out.take(true);
    if (segment === undefined) {
      if (closing) output.close();
      return closing;
    }
    const { bytes, block } = segment;
    // The reader may keep it: a small chunk gets memory of its own.
    const small = block !== undefined && bytes.length < block.length / 2;
    output.enqueue(small ? bytes.slice() : bytes);
    if (small) out.release(segment);
    if (out.size < BLOCK_SIZE) full?.resolve();
    return true;
  };
  const passIfWanted = () => {
    clearImmediate(immediate);
    immediate = undefined;
    if (wanted === undefined || !pass()) return;
    wanted.resolve();
    wanted = undefined;
  };
  const end = () => {
    clearImmediate(immediate);
    full?.resolve();
    wanted?.resolve();
  };

  const readable = new ReadableStream<Uint8Array>({
    start: (controller) => void (output = controller),
    pull: () => {
      if (pass()) return;
      wanted = Promise.withResolvers();
      return wanted.promise;
    },
    cancel: (reason) => {
      end();
      input.error(reason);
    },
  }, { highWaterMark: 0 });
  const writable = new WritableStream<T>({
    start: (controller) => void (input = controller),
    write: (message) => {
      try {
        out.append(codec, message);
      } catch (error) {
        end();
        output.error(error);
        throw error;
      }
      // What is written in the same turn goes with it.
      if (out.size >= BLOCK_SIZE) passIfWanted();
      else if (wanted !== undefined) immediate ??= setImmediate(passIfWanted);
      if (out.size < BLOCK_SIZE) return;
      full = Promise.withResolvers();
      return full.promise;
    },
    close: () => {
      closing = true;
      passIfWanted();
    },
    abort: (reason) => {
      end();
      output.error(reason);
    },
  });
  return { readable, writable };
}

/**
 * Makes a stream that turns bytes into messages: `conn.readable.pipeThrough(decodeStream(codec))`.
 *
 * - The chunks may be cut anywhere. Messages of bytes are views of them, or of the memory that the pieces
 *   of a message are put together in.
 * - **Backpressure**: no further chunk is taken before all messages of the last one are read.
 * - Bytes that are no message fail both sides of the stream, with the errors that
 *   {@linkcode Messages.receive} has; so does an end within a message. The messages before it that were not
 *   read are lost then: that is how Web streams fail. `messages()` delivers them.
 *
 * **Permissions**: none.
 *
 * @param codec How bytes become messages.
 * @returns The stream.
 * @throws {TypeError} when it is not a codec.
 *
 * @example Usage
 * ```ts
 * import { connect, decodeStream, json, lines, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/numbers.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await conn.write(new TextEncoder().encode('{"id":1}\n{"id":2}\n'));
 * });
 *
 * await using conn = await connect(path);
 * const values = conn.readable.pipeThrough(decodeStream(json(lines())));
 * assertEquals(await Array.fromAsync(values), [{ id: 1 }, { id: 2 }]);
 * ```
 */
export function decodeStream<T>(codec: Codec<T>): TransformStream<Uint8Array, T> {
  checkArguments("decodeStream", arguments, 1, "decodeStream(codec)");
  checkCodec("codec", codec);
  const input = new InputBuffer(codec);
  const decode = (
    controller: TransformStreamDefaultController<T>,
    take: (messages: T[]) => void,
  ) => {
    const messages: T[] = [];
    try {
      take(messages);
    } finally {
      for (const message of messages) controller.enqueue(message);
    }
  };
  return new TransformStream<Uint8Array, T>({
    transform(chunk, controller) {
      if (!(chunk instanceof Uint8Array)) {
        throw new TypeError(`Invalid chunk: expected a Uint8Array, got ${show(chunk)}`);
      }
      input.adopt(chunk);
      decode(controller, (messages) => {
        while (input.decode(messages));
      });
    },
    flush(controller) {
      decode(controller, (messages) => input.finish(messages));
    },
  });
}
