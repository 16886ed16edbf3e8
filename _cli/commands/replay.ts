/** `uds replay FILE PATH`: plays the clients of a recording, and compares the answers. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import type { SocketPath } from "../../address.ts";
import { connect } from "../../client.ts";
import type { Connection } from "../../connection.ts";
import { permissions } from "../../permissions.ts";
import { FAILURE, OK, UsageError } from "../exit_codes.ts";
import { describe, textOf } from "../io/framing.ts";
import { print } from "../io/output.ts";
import { readRecording, type Step } from "../io/recording.ts";
import { reporter } from "../io/reporter.ts";
import { SilenceLimit } from "../io/silence_limit.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import type { ConnectingFlags } from "../parse/options.ts";
import { type Difference, differences } from "../text/differences.ts";
import { json, printable } from "../text/printable.ts";
import { connectOptions } from "./connect.ts";

/** Its options. */
export type ReplayFlags = CommonFlags & ConnectingFlags & {
  readonly connection?: number;
};

const TIMEOUT_MS = 5000;
const BUFFER_BYTES = 64 * 1024;
/** The maximum number of bytes to read after the recorded answer. */
const MAX_EXTRA_BYTES = 64 * 1024;
/** The maximum number of bytes of a difference to print. */
const SHOWN_BYTES = 32;

/** Returns the Deno permissions that it needs. */
export function needs(_: ReplayFlags, file: string, path: SocketPath): Needs {
  return union([{ read: [file] }, permissions("connect", path)]);
}

/** The command. */
export async function run(flags: ReplayFlags, file: string, path: SocketPath): Promise<number> {
  requireGrants("Cannot replay", needs(flags, file, path), { operation: "replay", path: null });
  const recording = await readRecording(file);
  const { connection: only } = flags;
  if (only !== undefined && !recording.has(only)) {
    throw new UsageError(`--connection must be one of ${[...recording.keys()].join(", ")}`);
  }
  const played = [...recording].filter(([connection]) => only === undefined || connection === only);
  let count = 0;
  for (const [connection, steps] of played) {
    const found = await play(flags, path, steps);
    count += found.length;
    for (const difference of found) {
      await print(flags.json ? toJson(connection, difference) : toText(connection, difference));
    }
  }
  const data = { event: "replayed", connections: played.length, differences: count };
  reporter.say(`connections: ${played.length}, differences: ${count}`, data);
  return count === 0 ? OK : FAILURE;
}

/** Plays the client of one connection. Returns the differences of the answer. */
async function play(
  flags: ReplayFlags,
  path: SocketPath,
  steps: readonly Step[],
): Promise<Difference[]> {
  const expected = join(
    steps.flatMap((step) =>
      step.event === "data" && step.direction === "to-client" ? [step.bytes] : []
    ),
  );
  await using conn = await connect(connectOptions(flags, path));
  using answer = new Answer(conn, flags.timeout || TIMEOUT_MS, expected.length + MAX_EXTRA_BYTES);
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

function toJson(connection: number, { offset, expected, got }: Difference): string {
  const sides = { expected: describe(expected, {}), got: describe(got, {}) };
  return `${json({ connection, offset, ...sides })}\n`;
}

function toText(connection: number, { offset, expected, got }: Difference): string {
  return `connection ${connection}, byte ${offset}: expected ${shown(expected)}, got ${
    shown(got)
  }\n`;
}

/** Returns the first bytes as quoted text, or in hexadecimal, and the number of the others. */
function shown(bytes: Uint8Array): string {
  if (bytes.length === 0) return "the end";
  const first = bytes.subarray(0, SHOWN_BYTES);
  const text = textOf(first);
  const more = bytes.length - first.length;
  return (text === undefined ? first.toHex() : printable(JSON.stringify(text))) +
    (more > 0 ? ` and ${more} bytes more` : "");
}
