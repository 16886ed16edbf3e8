/**
 * A recording of `uds tap --output`: JSON Lines, an object for each event.
 *
 * ```json
 * {"time":"2026-01-02T03:04:05.678Z","connection":1,"event":"open"}
 * {"time":"…","connection":1,"event":"data","direction":"to-target","size":3,"text":"hi\n"}
 * {"time":"…","connection":1,"event":"data","direction":"to-client","size":2,"hex":"ff00"}
 * {"time":"…","connection":1,"event":"end","direction":"to-target"}
 * {"time":"…","connection":1,"event":"close"}
 * ```
 *
 * Each read is an event: as text if it is UTF-8, else in hexadecimal. It is what `uds tap --json`
 * prints without `--framing`.
 */

import { show } from "../../_internal/base/check.ts";
import { explained } from "../text/failure.ts";
import { bytesOfDigits } from "./framing.ts";
import { readStdin } from "./stdin.ts";
import type { Direction } from "./tapped_stream.ts";

/** What a recording says about one direction of a connection, in order. */
export type Step =
  | { event: "data"; direction: Direction; bytes: Uint8Array }
  | { event: "end"; direction: Direction };

/** What was recorded of a connection. */
export interface RecordedConnection {
  readonly steps: Step[];
  /** Whether it was closed because of a failure: one side may have closed before it took all. */
  hasFailed: boolean;
  /** The directions that have ended. */
  readonly ended: Set<Direction>;
}

/** Reports whether a file is standard input. Deno opens `/dev/stdin` only with all permissions. */
export function isStdin(name: string): boolean {
  return name === "-" || name === "/dev/stdin";
}

/** Returns the name of a recording for an error message. */
export function shownFile(name: string): string {
  return isStdin(name) ? "standard input" : JSON.stringify(name);
}

/** Reads a recording, which `-` takes from standard input. Returns its connections by number. */
export async function readRecording(name: string): Promise<Map<number, RecordedConnection>> {
  const attempt = `Cannot read ${shownFile(name)}`;
  const text = isStdin(name) ? await readAllOfStdin() : await readFile(attempt, name);
  const connections = new Map<number, RecordedConnection>();
  const lines = text.split("\n");
  for (const [i, line] of lines.entries()) {
    if (line.trim() === "") continue;
    try {
      addEvent(connections, parseObject(line));
    } catch (cause) {
      const isCutOff = cause instanceof SyntaxError && i === lines.length - 1 &&
        connections.size > 0;
      const state = isCutOff
        ? `it ends within line ${i + 1}, so the recording was cut off. Remove that line to play ` +
          "the rest"
        : `line ${i + 1} is not an event of uds tap: ${(cause as Error).message}`;
      throw new Deno.errors.InvalidData(`${attempt}: ${state}`, { cause });
    }
  }
  return connections;
}

async function readAllOfStdin(): Promise<string> {
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  // A chunk is overwritten by a later one.
  for await (const chunk of readStdin()) chunks.push(chunk.slice());
  return await new Blob(chunks).text();
}

async function readFile(attempt: string, name: string): Promise<string> {
  try {
    const bytes = await explained(attempt, () => Deno.readFile(name));
    // Without the byte order mark, if there is one.
    return new TextDecoder().decode(bytes);
  } catch (error) {
    if (error instanceof Deno.errors.NotCapable) {
      error.message = `${attempt}: Deno opens it only with all permissions. ` +
        "Pipe the recording in, and write - instead";
    }
    throw error;
  }
}

function parseObject(line: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new SyntaxError("it is not JSON");
  }
  if (typeof value !== "object" || value === null) throw new TypeError("it is not an object");
  return value as Record<string, unknown>;
}

const EVENTS: readonly unknown[] = ["open", "data", "end", "close", "descriptors"];

/** Adds an event. One that is not about bytes, such as a descriptor, adds no step. */
function addEvent(
  connections: Map<number, RecordedConnection>,
  line: Record<string, unknown>,
): void {
  const { connection, event, direction, reason } = line;
  if (!Number.isSafeInteger(connection) || connection as number < 1) {
    throw new TypeError(`"connection" must be a positive integer, got ${show(connection)}`);
  }
  const recorded = connections.get(connection as number) ?? {
    steps: [],
    hasFailed: false,
    ended: new Set<Direction>(),
  };
  connections.set(connection as number, recorded);
  if (event === "close" && reason !== undefined) recorded.hasFailed = true;
  if (!EVENTS.includes(event)) {
    throw new TypeError(`"event" must be one of ${EVENTS.join(", ")}, got ${show(event)}`);
  }
  if (event !== "data" && event !== "end") return;
  if (direction !== "to-target" && direction !== "to-client") {
    throw new TypeError(`"direction" must be "to-target" or "to-client", got ${show(direction)}`);
  }
  const { steps, ended } = recorded;
  if (ended.has(direction)) throw new TypeError(`"${direction}" has ended before`);
  if (event === "end") ended.add(direction);
  steps.push(event === "end" ? { event, direction } : { event, direction, bytes: bytesOf(line) });
}

function bytesOf({ text, hex }: Record<string, unknown>): Uint8Array {
  if (typeof text === "string") return new TextEncoder().encode(text);
  const bytes = typeof hex === "string" ? bytesOfDigits(hex) : undefined;
  if (bytes !== undefined) return bytes;
  throw new TypeError('it has neither "text" nor bytes as "hex"');
}
