/** What is sent: standard input, or a message. */

import { nextPause, rest } from "./output.ts";

/** Bytes that are read at once. */
export const BUFFER_SIZE: number = 256 * 1024;

/** How long to wait, after an abort, for input that may be there already. */
const IDLE_MS = 50;

/** What is to be sent, chunk by chunk. */
export interface Source {
  /**
   * The next chunk, `null` at the end, the same one until {@linkcode take}; `undefined` on abort, unless
   * one is there.
   */
  next(signal: AbortSignal): Promise<Uint8Array | null | undefined>;
  /** The chunk is used up. */
  take(): void;
}

/**
 * Standard input. What has been read and was not taken stays, for whoever asks next.
 *
 * - While a chunk is used the next one is read, into a second buffer.
 */
export class Input implements Source {
  readonly #buffers = [new Uint8Array(BUFFER_SIZE), new Uint8Array(BUFFER_SIZE)] as const;
  #reads = 0;
  #chunk: Promise<Uint8Array | null> | undefined;
  #ahead: Promise<Uint8Array | null> | undefined;

  next(signal: AbortSignal): Promise<Uint8Array | null | undefined> {
    const chunk = this.#chunk ??= this.#read();
    return new Promise((resolve, reject) => {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const abort = () => timer = setTimeout(() => resolve(undefined), IDLE_MS);
      if (signal.aborted) abort();
      else signal.addEventListener("abort", abort, { once: true });
      chunk.then((data) => {
        if (data !== null && this.#chunk === chunk) this.#ahead ??= this.#read();
        resolve(data);
      }, reject).finally(() => {
        clearTimeout(timer);
        signal.removeEventListener("abort", abort);
      });
    });
  }

  take(): void {
    this.#chunk = this.#ahead;
    this.#ahead = undefined;
  }

  #read(): Promise<Uint8Array | null> {
    const buffer = this.#buffers[this.#reads++ % 2] as Uint8Array;
    const chunk = readInput(buffer);
    // Its failure is for who asks for it.
    chunk.catch(() => {});
    return chunk;
  }
}

/** Reads standard input; where it does not block, and has nothing, it is asked again after a pause. */
async function readInput(buffer: Uint8Array): Promise<Uint8Array | null> {
  for (let pause = nextPause(0);; pause = nextPause(pause)) {
    try {
      const count = await Deno.stdin.read(buffer);
      return count === null ? null : buffer.subarray(0, count);
    } catch (cause) {
      if (!(cause instanceof Deno.errors.WouldBlock)) {
        throw new Error(`Cannot read standard input: ${(cause as Error).message}`, { cause });
      }
    }
    await rest(pause);
  }
}

/** A message that is there as a whole. */
export class Message implements Source {
  #rest: Uint8Array | null;

  constructor(message: Uint8Array) {
    this.#rest = message;
  }

  next(): Promise<Uint8Array | null> {
    return Promise.resolve(this.#rest);
  }

  take(): void {
    this.#rest = null;
  }
}
