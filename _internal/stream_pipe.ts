/**
 * Piping from one connection to another, by `readable.pipeTo(writable)`, through one buffer.
 *
 * - A stream's chunks are its consumer's to keep, so each has memory of its own, and fetching that memory
 *   takes longer than the copy. Between two connections nobody else sees the chunks: the buffer serves
 *   again as soon as it is written.
 * - It is what `pipeTo` does, by the public means of the streams. Where it would have to do more (options,
 *   an end that is locked, closed or broken) Deno's own does it.
 */

import { readBuffer } from "./read_buffer.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** The buffer grows with what comes, between these sizes. */
const MIN_SIZE = 16 * 1024;
const MAX_SIZE = 256 * 1024;

/** The streams that have done with a chunk when its write resolves. */
const targets = new WeakSet<WritableStream<Uint8Array>>();

/** Takes note of the `writable` of a connection. */
export function addPipeTarget(writable: WritableStream<Uint8Array>): void {
  targets.add(writable);
}

/** Makes the `readable` of a connection pipe to those through one buffer. */
export function addPipeSource(readable: ReadableStream<Bytes>): void {
  readable.pipeTo = function (
    this: ReadableStream<Bytes>,
    target: WritableStream<Uint8Array>,
    options?: StreamPipeOptions,
  ): Promise<void> {
    if (this === readable && options === undefined && targets.has(target)) {
      const ends = lock(readable, target);
      if (ends !== undefined) return pipe(...ends);
    }
    return ReadableStream.prototype.pipeTo.call(this, target, options);
  };
}

type Ends = [reader: ReadableStreamBYOBReader, writer: WritableStreamDefaultWriter<Uint8Array>];

/** Both ends for this pipe alone; `undefined` unless both are free, and the target takes chunks. */
function lock(source: ReadableStream<Bytes>, target: WritableStream<Uint8Array>): Ends | undefined {
  if (source.locked || target.locked) return undefined;
  const writer = target.getWriter();
  if (writer.desiredSize === 1) return [source.getReader({ mode: "byob" }), writer];
  writer.releaseLock();
  return undefined;
}

async function pipe(...[reader, writer]: Ends): Promise<void> {
  let buffer: Bytes = readBuffer(MIN_SIZE);
  let failed: ((error: unknown) => Promise<void>) | undefined;
  try {
    for (;;) {
      const size = buffer.length;
      failed = (error) => writer.abort(error);
      const { value, done } = await reader.read(buffer);
      failed = (error) => reader.cancel(error);
      if (done) break;
      await writer.write(value);
      buffer = value.length === size && size < MAX_SIZE
        ? readBuffer(2 * size)
        : new Uint8Array(value.buffer, value.byteOffset, size);
    }
    failed = undefined;
    await writer.close();
  } catch (error) {
    await failed?.(error);
    throw error;
  } finally {
    reader.releaseLock();
    writer.releaseLock();
  }
}
