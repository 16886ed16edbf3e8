/**
 * Piping from one connection to another, by `readable.pipeTo(writable)`, through one buffer.
 *
 * - A stream's chunks are its consumer's to keep, so each has memory of its own, and fetching that memory
 *   takes longer than the copy. Between two connections nobody else sees the chunks: the buffer serves
 *   again as soon as it is written.
 * - It is what `pipeTo` does, by the public means of the streams. Deno's own runs with `preventAbort`, and
 *   where an end is locked, closed or broken.
 * - An aborted signal closes the target at once. Deno's own first waits for the write under way. Without a
 *   peer that reads, this wait never ends.
 */

import { onAbort } from "../base/event_loop.ts";
import { readBuffer } from "../base/read_buffer.ts";

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
    if (this === readable && targets.has(target) && isSupported(options)) {
      const ends = lock(readable, target);
      if (ends !== undefined) return pipe(...ends, options);
    }
    return ReadableStream.prototype.pipeTo.call(this, target, options);
  };
}

/** Whether {@linkcode pipe} can do what the options ask for: a target that must stay open it cannot. */
function isSupported(options: StreamPipeOptions | undefined): boolean {
  if (options === undefined) return true;
  if (typeof options !== "object" || options === null) return false;
  const { signal, preventAbort } = options;
  if (preventAbort) return false;
  return signal === undefined || signal instanceof AbortSignal && !signal.aborted;
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

async function pipe(
  reader: Ends[0],
  writer: Ends[1],
  { signal, preventCancel, preventClose }: StreamPipeOptions = {},
): Promise<void> {
  let buffer: Bytes = readBuffer(MIN_SIZE);
  let failed: ((error: unknown) => Promise<void>) | undefined;
  let stopped: Promise<unknown> | undefined;
  const stopListening = onAbort(signal, () => {
    const { reason } = signal as AbortSignal;
    // A read that is pending ends with the lock; what it brings is for the next reader.
    const leave = preventCancel ? reader.releaseLock() : reader.cancel(reason);
    stopped = Promise.all([writer.abort(reason), leave]);
    stopped.catch(() => {});
  });
  try {
    for (;;) {
      const size = buffer.length;
      failed = (error) => writer.abort(error);
      const { value, done } = await reader.read(buffer);
      if (stopped !== undefined) throw signal?.reason;
      failed = preventCancel ? undefined : (error) => reader.cancel(error);
      if (done) break;
      await writer.write(value);
      if (stopped !== undefined) throw signal?.reason;
      buffer = value.length === size && size < MAX_SIZE
        ? readBuffer(2 * size)
        : new Uint8Array(value.buffer, value.byteOffset, size);
    }
    // From now on there is nothing to abort.
    stopListening();
    failed = undefined;
    if (!preventClose) await writer.close();
  } catch (error) {
    if (stopped !== undefined) {
      await stopped;
      throw signal?.reason;
    }
    await failed?.(error);
    throw error;
  } finally {
    stopListening();
    reader.releaseLock();
    writer.releaseLock();
  }
}
