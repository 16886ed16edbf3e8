/** Standard input, read item by item: chunks, or messages of them. */

import { onAbort } from "../../_internal/base/event_loop.ts";
import { failure } from "../text/failure.ts";
import { whenReady } from "./output.ts";

/** How many bytes to read at once. */
export const BUFFER_SIZE: number = 256 * 1024;

/** How long, in milliseconds, to wait after an abort for input that is available. */
const ABORT_GRACE_MS = 50;

/**
 * A sequence of items. An item stays until it is taken, so the next client gets what this one did
 * not.
 */
export class Peekable<T> {
  readonly #items: Iterator<T> | AsyncIterator<T>;
  #next: Promise<IteratorResult<T>> | undefined;

  constructor(items: Iterator<T> | AsyncIterator<T>) {
    this.#items = items;
  }

  /**
   * Returns the next item, the same one until {@linkcode take}, or `null` at the end. After an
   * abort it returns `undefined`, unless the item is available.
   */
  peek(signal: AbortSignal): Promise<T | null | undefined> {
    const next = this.#next ??= Promise.resolve(this.#items.next());
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const forget = onAbort(
        signal,
        () => timer = setTimeout(() => resolve(undefined), ABORT_GRACE_MS),
      );
      next.then(({ value, done }) => resolve(done ? null : value), reject).finally(() => {
        clearTimeout(timer);
        forget();
      });
    });
  }

  /** Removes the item that {@linkcode peek} returned. Its memory may then be reused. */
  take(): void {
    this.#next = undefined;
  }
}

/** Reads standard input. While a chunk is used, the next one is read into a second buffer. */
export async function* readStdin(): AsyncGenerator<Uint8Array> {
  const buffers = [new Uint8Array(BUFFER_SIZE), new Uint8Array(BUFFER_SIZE)] as const;
  let reading = readOnce(buffers[0]);
  for (let isSecond = true;; isSecond = !isSecond) {
    const chunk = await reading;
    if (chunk === null) return;
    reading = readOnce(buffers[isSecond ? 1 : 0]);
    // The consumer sees a failure when it asks for this chunk.
    reading.catch(() => {});
    yield chunk;
  }
}

async function readOnce(buffer: Uint8Array): Promise<Uint8Array | null> {
  const count = await readStdinInto(buffer);
  return count === null ? null : buffer.subarray(0, count);
}

/** Reads standard input once, waiting where its descriptor does not block. */
export async function readStdinInto(buffer: Uint8Array): Promise<number | null> {
  try {
    return await whenReady(() => Deno.stdin.read(buffer));
  } catch (cause) {
    throw failure("Cannot read standard input", cause as Error);
  }
}
