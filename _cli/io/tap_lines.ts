/** The lines of `uds tap`. */

import { paint } from "../text/color.ts";
import type { FramingFlags } from "../parse/options.ts";
import { inLocale } from "../text/locale.ts";
import { json, printable } from "../text/printable.ts";
import { describe, textOf } from "./framing.ts";
import { shownPeer } from "./identity.ts";
import type { Direction, TapEvent } from "./tapped_stream.ts";

/** An event with the number of its connection, and its time. */
export type TimedEvent = TapEvent & { connection: number; time: Date };

/** Returns an event as an object on a line. */
export function formatJson(timed: TimedEvent, flags: FramingFlags): string {
  const { time, connection, event, ...rest } = timed;
  const head = { time: time.toISOString(), connection, event };
  if (!("message" in rest)) return `${json({ ...head, ...rest })}\n`;
  const { message, direction } = rest;
  return `${json({ ...head, direction, ...describe(message, flags) })}\n`;
}

/** Returns an event as text for a terminal: time, connection, direction, size and content. */
export function formatText(timed: TimedEvent, flags: FramingFlags): string {
  const time = timed.time.toTimeString().slice(0, 8);
  const ms = String(timed.time.getMilliseconds()).padStart(3, "0");
  const stamp = `${time}.${ms} #${timed.connection}`;
  const arrow = "direction" in timed ? ` ${arrowOf(timed.direction)}` : "";
  return `${paint("dim", stamp)}${arrow} ${detailsOf(timed, flags, stamp.length)}\n`;
}

function detailsOf(event: TapEvent, flags: FramingFlags, stampWidth: number): string {
  switch (event.event) {
    case "data": {
      const size = `${event.message.length} B`.padStart(7);
      return `${paint("dim", size)}  ${
        contentOf(event.message, flags, stampWidth + BEFORE_CONTENT)
      }`;
    }
    case "undecodable":
      return paint("dim", printable(`${event.reason}. Raw from here`));
    case "descriptors": {
      const noun = event.count === 1 ? "descriptor" : "descriptors";
      const fate = event.dropped ? ", dropped. --descriptors passes them on" : "";
      return paint("dim", `${event.count} ${noun}${fate}`);
    }
    case "close":
      return paint(
        "dim",
        `close${event.reason === undefined ? "" : `: ${printable(event.reason)}`}`,
      );
    case "open":
      return paint(
        "dim",
        `open${event.peer === undefined ? "" : ` by ${shownPeer(event.peer)}`}`,
      );
    default:
      return paint("dim", event.event);
  }
}

function arrowOf(direction: Direction): string {
  return direction === "to-target"
    ? paint("green", inLocale("→", ">"))
    : paint("yellow", inLocale("←", "<"));
}

/** The number of columns between the stamp and the content. */
const BEFORE_CONTENT = " →       B  ".length;
/** The number of bytes in a line of a dump. */
const DUMP_WIDTH = 16;

/** Returns a text with its lines below one another from a column on, and other bytes as a dump. */
function contentOf(message: Uint8Array, flags: FramingFlags, column: number): string {
  const text = flags.hex ? undefined : textOf(message);
  if (text !== undefined) {
    const lines = text.split(/(?<=\n)/).map((line) =>
      line.replace(/[\\\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escape)
    );
    return lines.join(`\n${" ".repeat(column)}`);
  }
  let dump = "";
  for (let at = 0; at < message.length; at += DUMP_WIDTH) {
    const row = message.subarray(at, at + DUMP_WIDTH);
    const hex = row.toHex().replace(/..(?=.)/g, "$& ").padEnd(DUMP_WIDTH * 3);
    const ascii = String.fromCharCode(...row).replace(/[^ -~]/g, ".");
    dump += `\n  ${paint("dim", at.toString(16).padStart(6, "0"))}  ${hex} ${paint("dim", ascii)}`;
  }
  return dump;
}

const NAMED: Readonly<Record<string, string>> = {
  "\n": "\\n",
  "\r": "\\r",
  "\t": "\\t",
  "\\": "\\\\",
};

/** Escapes a control character, or the backslash that begins an escape. */
function escape(character: string): string {
  return paint("dim", NAMED[character] ?? printable(character));
}
