/** One side of a recorded connection, played over a new one. */

import type { Connection } from "../../connection.ts";
import { type Difference, differences } from "../text/differences.ts";
import type { Step } from "./recording.ts";
import { SilenceLimit } from "./silence_limit.ts";
import type { Direction } from "./tapped_stream.ts";

const BUFFER_BYTES = 64 * 1024;
/** The maximum number of bytes to read after those that are recorded. */
const MAX_EXTRA_BYTES = 64 * 1024;

/** How a connection is played. */
export interface PlayOptions {
  /** The direction of the bytes to send. Those of the other direction are compared. */
  readonly sends: Direction;
  /** How long, in milliseconds, the peer may be silent when it is its turn. */
  readonly timeout: number;
  /** Whether the first byte that differs ends the play. By default all are compared. */
  readonly endsAtDifference?: boolean;
}

/** Plays one side of a connection. Returns the differences of what the peer sent. */
export async function play(
  conn: Connection,
  steps: readonly Step[],
  { sends, timeout, endsAtDifference = false }: PlayOptions,
): Promise<Difference[]> {
  const expected = join(
    steps.flatMap((step) => step.event === "data" && step.direction !== sends ? [step.bytes] : []),
  );
  using peer = new Peer(conn, timeout, expected, endsAtDifference);
  let awaited = 0;
  try {
    for (const step of steps) {
      if (step.direction === sends) {
        await peer.during(step.event === "data" ? conn.write(step.bytes) : conn.closeWrite());
      } else if (step.event === "end") await peer.ends();
      else if (!await peer.reaches(awaited += step.bytes.length)) break;
    }
  } catch {
    // The peer has closed: what it sends ends there.
    await peer.ends();
  }
  const { bytes } = peer;
  // The rest was not awaited.
  if (peer.differs) return differences(expected.subarray(0, bytes.length), bytes).slice(0, 1);
  return differences(expected, bytes).map((difference) => ({
    ...difference,
    isSilent: peer.isSilent && difference.offset + difference.expected.length > bytes.length,
  }));
}

/** What the peer sends, read as it comes. */
class Peer implements Disposable {
  readonly #conn: Connection;
  readonly #limit: SilenceLimit;
  readonly #expected: Uint8Array;
  readonly #endsAtDifference: boolean;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #isOver = false;
  #onProgress: () => void = () => {};
  /** Whether it was left because a byte differs. */
  differs = false;

  constructor(conn: Connection, timeout: number, expected: Uint8Array, endsAtDifference: boolean) {
    this.#conn = conn;
    this.#expected = expected;
    this.#endsAtDifference = endsAtDifference;
    this.#limit = new SilenceLimit(timeout, "");
    this.#limit.signal.addEventListener("abort", () => conn.close());
    this.#read(expected.length + MAX_EXTRA_BYTES);
  }

  /** Whether it was given up because it was silent. */
  get isSilent(): boolean {
    return this.#limit.signal.aborted;
  }

  get bytes(): Uint8Array {
    return join(this.#chunks);
  }

  /** Waits for so many bytes. Resolves to `false` if it ends, differs or is silent before. */
  async reaches(size: number): Promise<boolean> {
    while (this.#size < size && !this.#isOver) {
      this.#limit.restart();
      await new Promise<void>((resolve) => this.#onProgress = resolve);
    }
    this.#limit.pause();
    return this.#size >= size && !this.differs;
  }

  /** Waits for its end. */
  async ends(): Promise<void> {
    await this.reaches(Infinity);
  }

  /** Waits for a write, which it may not take. */
  async during(writing: Promise<unknown>): Promise<void> {
    this.#limit.restart();
    await writing.finally(() => this.#limit.pause());
  }

  async #read(maxBytes: number): Promise<void> {
    const buffer = new Uint8Array(BUFFER_BYTES);
    try {
      for (let count; this.#size < maxBytes && (count = await this.#conn.read(buffer)) !== null;) {
        const chunk = buffer.slice(0, count);
        const expected = this.#expected.subarray(this.#size, this.#size + count);
        this.#chunks.push(chunk);
        this.#size += count;
        if (this.#endsAtDifference && chunk.some((byte, i) => byte !== expected[i])) {
          this.differs = true;
          this.#conn.close();
          break;
        }
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
