/** One side of a recorded connection, played over a new one. */

import type { Connection } from "../../connection.ts";
import { type Difference, differences } from "../text/differences.ts";
import type { Step } from "./recording.ts";
import { SilenceLimit } from "./silence_limit.ts";

const BUFFER_BYTES = 64 * 1024;
/** The maximum number of bytes to read after the recorded answer. */
const MAX_EXTRA_BYTES = 64 * 1024;

/** Plays the client of one connection. Returns the differences of the answer. */
export async function play(
  conn: Connection,
  steps: readonly Step[],
  timeout: number,
): Promise<Difference[]> {
  const expected = join(
    steps.flatMap((step) =>
      step.event === "data" && step.direction === "to-client" ? [step.bytes] : []
    ),
  );
  using answer = new Answer(conn, timeout, expected.length + MAX_EXTRA_BYTES);
  let awaited = 0;
  try {
    for (const step of steps) {
      if (step.direction === "to-target") {
        await answer.during(step.event === "data" ? conn.write(step.bytes) : conn.closeWrite());
      } else {
        awaited = step.event === "data" ? awaited + step.bytes.length : Infinity;
        if (!await answer.reaches(awaited)) break;
      }
    }
  } catch {
    // The server has closed: the answer ends there.
    await answer.reaches(Infinity);
  }
  return differences(expected, answer.bytes);
}

/** What a server sends, read as it comes. */
class Answer implements Disposable {
  readonly #conn: Connection;
  readonly #limit: SilenceLimit;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #isOver = false;
  #onProgress: () => void = () => {};

  /** @param maxBytes How many bytes to read at most. */
  constructor(conn: Connection, timeout: number, maxBytes: number) {
    this.#conn = conn;
    this.#limit = new SilenceLimit(timeout, "");
    this.#limit.signal.addEventListener("abort", () => conn.close());
    this.#read(maxBytes);
  }

  get bytes(): Uint8Array {
    return join(this.#chunks);
  }

  /** Waits for so many bytes. Resolves to `false` if the server ends or is silent before. */
  async reaches(size: number): Promise<boolean> {
    while (this.#size < size && !this.#isOver) {
      this.#limit.restart();
      await new Promise<void>((resolve) => this.#onProgress = resolve);
    }
    this.#limit.pause();
    return this.#size >= size;
  }

  /** Waits for a write, which the server may not take. */
  async during(writing: Promise<unknown>): Promise<void> {
    this.#limit.restart();
    await writing.finally(() => this.#limit.pause());
  }

  async #read(maxBytes: number): Promise<void> {
    const buffer = new Uint8Array(BUFFER_BYTES);
    try {
      for (let count; this.#size < maxBytes && (count = await this.#conn.read(buffer)) !== null;) {
        this.#chunks.push(buffer.slice(0, count));
        this.#size += count;
        this.#onProgress();
      }
    } catch {
      // It was reset, or closed after the silence.
    }
    this.#isOver = true;
    this.#onProgress();
  }

  [Symbol.dispose](): void {
    this.#limit[Symbol.dispose]();
  }
}

function join(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(chunks.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
