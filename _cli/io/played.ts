/** One side of a recorded connection, played over a new one. */

import type { Connection } from "../../connection.ts";
import { type Difference, differences } from "../text/differences.ts";
import type { RecordedConnection } from "./recording.ts";
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
  /** Called when the peer has sent something. */
  readonly onData?: () => void;
}

/** Bytes that the peer did not take. */
export interface Untaken {
  /** Their number, or `null` if the peer closed before it had read what the kernel took. */
  readonly untaken: number | null;
}

/** What the peer did otherwise than recorded. */
export type Found = Difference | Untaken;

/** Plays one side of a connection. Returns what the peer did otherwise than recorded. */
export async function play(
  conn: Connection,
  { steps, hasFailed }: RecordedConnection,
  options: PlayOptions,
): Promise<Found[]> {
  const { sends } = options;
  const bytesOf = (isSent: boolean) =>
    steps.flatMap((step) =>
      step.event === "data" && (step.direction === sends) === isSent ? [step.bytes] : []
    );
  const expected = join(bytesOf(false));
  using peer = new Peer(conn, expected, options);
  let awaited = 0;
  let untaken: number | null = 0;
  try {
    for (const step of steps) {
      if (step.direction === sends) {
        await (step.event === "data" ? peer.take(step.bytes) : conn.closeWrite());
      } else if (step.event === "end") await peer.ends();
      else if (!await peer.reaches(awaited += step.bytes.length)) break;
    }
  } catch {
    // It takes nothing more. What it sends is compared up to its end.
    await peer.ends();
    untaken = sizeOf(bytesOf(true)) - conn.bytesWritten;
  }
  const { bytes } = peer;
  // The rest was not awaited.
  if (peer.differs) return differences(expected.subarray(0, bytes.length), bytes).slice(0, 1);
  const found: Found[] = differences(expected, bytes).map((difference) => ({
    ...difference,
    isSilent: peer.isSilent && difference.offset + difference.expected.length > bytes.length,
  }));
  if (untaken === 0 && peer.wasReset) untaken = null;
  // In a recording that ends with a failure, the peer may have done the same.
  if (untaken !== 0 && (!hasFailed || peer.isSilent)) found.push({ untaken });
  return found;
}

/** What the peer sends, read as it comes. */
class Peer implements Disposable {
  readonly #conn: Connection;
  readonly #limit: SilenceLimit;
  readonly #expected: Uint8Array;
  readonly #options: PlayOptions;
  readonly #chunks: Uint8Array[] = [];
  #size = 0;
  #isOver = false;
  #onProgress: () => void = () => {};
  /** Whether it was left because a byte differs. */
  differs = false;
  /** Whether it closed before it had read everything. */
  wasReset = false;

  constructor(conn: Connection, expected: Uint8Array, options: PlayOptions) {
    this.#conn = conn;
    this.#expected = expected;
    this.#options = options;
    this.#limit = new SilenceLimit(options.timeout, "");
    this.#limit.signal.addEventListener("abort", () => conn.close());
    this.#read(expected.length + MAX_EXTRA_BYTES);
  }

  /** Whether it was given up because it was silent, or took nothing. */
  get isSilent(): boolean {
    return this.#limit.signal.aborted;
  }

  get bytes(): Uint8Array {
    return join(this.#chunks);
  }

  /** Waits for so many bytes. Resolves to `false` if it ends, differs or is silent before. */
  async reaches(size: number): Promise<boolean> {
    this.#limit.restart();
    while (this.#size < size && !this.#isOver) {
      const before = this.#size;
      await new Promise<void>((resolve) => this.#onProgress = resolve);
      // What comes beyond the recorded bytes could go on without end.
      if (before < this.#expected.length) this.#limit.restart();
    }
    this.#limit.pause();
    return this.#size >= size && !this.differs;
  }

  /** Waits for its end. */
  async ends(): Promise<void> {
    await this.reaches(Infinity);
  }

  /** Sends bytes to it. Rejects if it does not take them. */
  async take(bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; at += BUFFER_BYTES) {
        this.#limit.restart();
        await this.#conn.write(bytes.subarray(at, at + BUFFER_BYTES));
      }
    } finally {
      this.#limit.pause();
    }
  }

  async #read(maxBytes: number): Promise<void> {
    const { endsAtDifference, onData } = this.#options;
    const buffer = new Uint8Array(BUFFER_BYTES);
    try {
      for (let count; this.#size < maxBytes && (count = await this.#conn.read(buffer)) !== null;) {
        onData?.();
        const chunk = buffer.slice(0, count);
        const expected = this.#expected.subarray(this.#size, this.#size + count);
        this.#chunks.push(chunk);
        this.#size += count;
        if (endsAtDifference && chunk.some((byte, i) => byte !== expected[i])) {
          this.differs = true;
          this.#conn.close();
          break;
        }
        this.#onProgress();
      }
    } catch (error) {
      // Else it was closed, after the silence or by the caller.
      this.wasReset = error instanceof Deno.errors.ConnectionReset;
    }
    this.#isOver = true;
    this.#onProgress();
  }

  [Symbol.dispose](): void {
    this.#limit[Symbol.dispose]();
  }
}

function sizeOf(chunks: readonly Uint8Array[]): number {
  return chunks.reduce((sum, { length }) => sum + length, 0);
}

function join(chunks: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(sizeOf(chunks));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}
