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
import type { Direction } from "./tapped_stream.ts";

/** What a recording says about one direction of a connection, in order. */
export type Step =
  | { event: "data"; direction: Direction; bytes: Uint8Array }
  | { event: "end"; direction: Direction };

/** Reads a recording. Returns the steps of each connection, by its number. */
export async function readRecording(name: string): Promise<Map<number, Step[]>> {
  const attempt = `Cannot read ${JSON.stringify(name)}`;
  const text = await explained(attempt, () => Deno.readTextFile(name));
  const connections = new Map<number, Step[]>();
  for (const [i, line] of text.split("\n").entries()) {
    if (line === "") continue;
    try {
      addStep(connections, parseObject(line));
    } catch (cause) {
      const state = `line ${i + 1} is not an event of uds tap: ${(cause as Error).message}`;
      throw new Deno.errors.InvalidData(`${attempt}: ${state}`, { cause });
    }
  }
  return connections;
}

function parseObject(line: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new TypeError("it is not JSON");
  }
  if (typeof value !== "object" || value === null) throw new TypeError("it is not an object");
  return value as Record<string, unknown>;
}

/** The events that a relay adds to those of the bytes. */
const OTHER_EVENTS: readonly unknown[] = ["open", "close", "descriptors"];

/** Adds an event. One that is not about bytes, such as a descriptor, adds nothing. */
function addStep(connections: Map<number, Step[]>, line: Record<string, unknown>): void {
  const { connection, event, direction } = line;
  if (!Number.isSafeInteger(connection) || connection as number < 1) {
    throw new TypeError(`"connection" must be a positive integer, got ${show(connection)}`);
  }
  const steps = connections.get(connection as number) ?? [];
  connections.set(connection as number, steps);
  if (OTHER_EVENTS.includes(event)) return;
  if (event !== "data" && event !== "end") {
    const names = ["open", "data", "end", "close", "descriptors"].join(", ");
    throw new TypeError(`"event" must be one of ${names}, got ${show(event)}`);
  }
  if (direction !== "to-target" && direction !== "to-client") {
    throw new TypeError(`"direction" must be "to-target" or "to-client", got ${show(direction)}`);
  }
  if (steps.some((step) => step.event === "end" && step.direction === direction)) {
    throw new TypeError(`"${direction}" has ended before`);
  }
  steps.push(event === "end" ? { event, direction } : { event, direction, bytes: bytesOf(line) });
}

function bytesOf({ text, hex }: Record<string, unknown>): Uint8Array {
  if (typeof text === "string") return new TextEncoder().encode(text);
  if (typeof hex === "string" && /^(?:[0-9a-f]{2})*$/i.test(hex)) return Uint8Array.fromHex(hex);
  throw new TypeError('it has neither "text" nor bytes as "hex"');
}
