import { checked } from "../_internal/base/caller_stack.ts";
import { checkCodec } from "../_internal/messages/codec_support.ts";
import { InputBuffer } from "../_internal/messages/input.ts";
import { checkArguments, show } from "../_internal/base/check.ts";
import { BLOCK_BYTES, OutputBuffer } from "../_internal/messages/output.ts";
import type { Codec } from "./codec.ts";

/**
 * Returns a stream that turns messages into bytes:
 * `source.pipeThrough(encodeStream(codec)).pipeTo(conn.writable)`.
 *
 * - Messages that are written in one turn of the event loop, or while the reader is busy, share
 *   chunks of 64 KiB. Bytes of that length and more are passed on without a copy, and must not
 *   change afterwards.
 * - **Backpressure**: a write waits while 64 KiB wait for the reader.
 * - If the codec refuses a message, both sides of the stream fail with what it throws. Messages
 *   before it that were not read are lost.
 *
 * **Permissions**: none.
 *
 * @param codec How messages become bytes.
 * @returns The stream.
 * @throws {TypeError} when the codec is not one.
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
 *
 * @category Messages
 */
export function encodeStream<Out>(codec: Codec<unknown, Out>): TransformStream<Out, Uint8Array> {
  checked(encodeStream, () => {
    checkArguments("encodeStream", arguments, 1, "encodeStream(codec)");
    checkCodec("codec", codec);
  });
  const out = new OutputBuffer();
  let input: WritableStreamDefaultController;
  let output: ReadableStreamDefaultController<Uint8Array>;
  let isWanted = false;
  let isClosing = false;
  let immediate: ReturnType<typeof setImmediate> | undefined;
  /** Resolves when a write need not wait for the reader any more. */
  let full: PromiseWithResolvers<void> | undefined;

  /** Passes a chunk, or the end, to a reader that waits. */
  const pass = () => {
    clearImmediate(immediate);
    immediate = undefined;
    if (!isWanted) return;
    const segment = out.take(true);
    if (segment === undefined) {
      if (isClosing) output.close();
      return;
    }
    isWanted = false;
    const { bytes, block } = segment;
    // The reader may keep it. A small chunk gets its own memory.
    const isSmall = block !== undefined && bytes.length < block.length / 2;
    if (isSmall) out.release(segment);
    output.enqueue(isSmall ? bytes.slice() : bytes);
    if (out.size < BLOCK_BYTES) full?.resolve();
  };
  const end = () => {
    clearImmediate(immediate);
    full?.resolve();
  };

  const readable = new ReadableStream<Uint8Array>({
    start: (controller) => void (output = controller),
    pull: () => {
      isWanted = true;
      pass();
    },
    cancel: (reason) => {
      end();
      input.error(reason);
    },
  }, { highWaterMark: 0 });
  const writable = new WritableStream<Out>({
    start: (controller) => void (input = controller),
    write: (message) => {
      try {
        out.append(codec, message);
      } catch (error) {
        end();
        output.error(error);
        throw error;
      }
      // Messages of the same turn share a chunk.
      if (out.size >= BLOCK_BYTES) pass();
      else if (isWanted) immediate ??= setImmediate(pass);
      if (out.size < BLOCK_BYTES) return;
      full = Promise.withResolvers();
      return full.promise;
    },
    close: () => {
      isClosing = true;
      pass();
    },
    abort: (reason) => {
      end();
      output.error(reason);
    },
  });
  return { readable, writable };
}

/**
 * Returns a stream that turns bytes into messages:
 * `conn.readable.pipeThrough(decodeStream(codec))`.
 *
 * - Chunks may end anywhere. Messages of bytes are views of them, or of the memory in which the
 *   parts of a message are joined.
 * - **Backpressure**: it takes no further chunk until all messages of the last one are read.
 * - If the bytes are not a message, or end within one, both sides of the stream fail with the
 *   errors of {@linkcode Messages.receive}. Messages before it that were not read are lost, as in
 *   any Web stream; `messages()` delivers them.
 * - **Memory**: messages of bytes may be views of the chunk. To transfer one to a worker, make a
 *   copy: `message.slice()`. Otherwise the others of its chunk are empty.
 *
 * **Permissions**: none.
 *
 * @param codec How bytes become messages.
 * @returns The stream.
 * @throws {TypeError} when the codec is not one.
 *
 * @example Usage
 * ```ts
 * import { connect, decodeStream, json, lines, serve } from "@uds/uds";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/numbers.sock`;
 * await using _server = await serve(path, async (conn) => {
 *   await conn.writeText('{"id":1}\n{"id":2}\n');
 * });
 *
 * await using conn = await connect(path);
 * const values = conn.readable.pipeThrough(decodeStream(json(lines())));
 * assertEquals(await Array.fromAsync(values), [{ id: 1 }, { id: 2 }]);
 * ```
 *
 * @category Messages
 */
export function decodeStream<In>(codec: Codec<In, never>): TransformStream<Uint8Array, In> {
  checked(decodeStream, () => {
    checkArguments("decodeStream", arguments, 1, "decodeStream(codec)");
    checkCodec("codec", codec);
  });
  const input = new InputBuffer(codec);
  /** Passes on all messages, also those before a failure. */
  const pass = (
    controller: TransformStreamDefaultController<In>,
    decode: (messages: In[]) => void,
  ) => {
    const messages: In[] = [];
    try {
      decode(messages);
    } finally {
      for (const message of messages) controller.enqueue(message);
    }
  };
  return new TransformStream<Uint8Array, In>({
    transform(chunk, controller) {
      if (!(chunk instanceof Uint8Array)) {
        throw new TypeError(`Invalid chunk: expected a Uint8Array, got ${show(chunk)}`);
      }
      input.adopt(chunk);
      pass(controller, (messages) => {
        while (input.decode(messages));
      });
    },
    flush: (controller) => pass(controller, (messages) => input.finish(messages)),
  });
}
