/** The lines of `uds replay`. */

import { json, printable } from "../text/printable.ts";
import { describe, shownMessage } from "./framing.ts";
import type { Found } from "./played.ts";

/** The maximum number of bytes of a difference to print. */
const SHOWN_BYTES = 32;

/** Returns what differs as an object on a line. */
export function formatJson(connection: number, found: Found): string {
  if ("untaken" in found) return `${json({ connection, ...found })}\n`;
  const { offset, expected, got, isSilent } = found;
  const sides = { expected: describe(expected, {}), got: describe(got, {}) };
  return `${json({ connection, offset, ...sides, ...(isSilent && { silent: true }) })}\n`;
}

/**
 * Returns what differs as a line of text.
 *
 * @param silence How long, in seconds, a side may be silent.
 */
export function formatText(connection: number, found: Found, silence: number): string {
  if ("untaken" in found) {
    return `connection ${connection}: ${found.untaken ?? "some"} bytes were not taken\n`;
  }
  const { offset, expected, got, isSilent } = found;
  const came = isSilent && got.length === 0 ? "" : shown(got);
  const wait = came === "" ? "nothing" : `${came}, then nothing`;
  const there = isSilent ? `${wait} for ${silence} s` : came;
  return `connection ${connection}, byte ${offset}: expected ${shown(expected)}, got ${there}\n`;
}

/** Returns the first bytes as quoted text, or in hexadecimal, and the number of the others. */
function shown(bytes: Uint8Array): string {
  if (bytes.length === 0) return "the end";
  const first = bytes.subarray(0, SHOWN_BYTES);
  const more = bytes.length - first.length;
  return printable(shownMessage(first)) + (more > 0 ? ` and ${more} bytes more` : "");
}
