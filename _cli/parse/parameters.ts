/** The values that options and arguments may have. */

import { MAX_DELAY_MS } from "../../_internal/base/check.ts";
import { shownAddress } from "../../_internal/base/shown_address.ts";
import type { SocketPath } from "../../address.ts";

/** The value of an option is none that it takes. */
export class InvalidValue extends Error {}

/** A path as the command line writes it: `@name` is the abstract name, with escapes. */
export function socketPath(value: string): SocketPath {
  const [, scheme, path] = /^(file|unix):(?:\/\/)?(.*)$/is.exec(value) ?? [];
  if (path !== undefined) {
    const instead = path === "" ? "" : ` Write ${show(path)}, and not ${show(value)}`;
    throw new InvalidValue(`takes a path, or @name, without "${scheme}:".${instead}`);
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) {
    throw new InvalidValue(`takes a path, or @name, and not the URL ${show(value)}`);
  }
  return value.startsWith("@") ? `\0${unescapeName(text(value))}` : text(value);
}

/** The abstract name that `@name` writes: `\0`, `\xNN` and `\\` are a NUL, a byte and a backslash. */
function unescapeName(value: string): string {
  const bytes: number[] = [];
  for (const [part, hex] of value.slice(1).matchAll(/\\x([0-9a-f]{2})|\\.?|[^\\]+/gis)) {
    if (hex !== undefined) bytes.push(Number.parseInt(hex, 16));
    else if (part === "\\0") bytes.push(0);
    else if (part === "\\\\") bytes.push(0x5c);
    else if (part.startsWith("\\")) {
      throw new InvalidValue(
        `must have \\0, \\xNN or \\\\ where @name has a backslash, got ${show(value)}`,
      );
    } else bytes.push(...new TextEncoder().encode(part));
  }
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(new Uint8Array(bytes));
  } catch {
    throw new InvalidValue(
      `must be an abstract name in UTF-8, because Deno cannot name others, got ${show(value)}`,
    );
  }
}

/** An address as the command line writes it. */
export function shownPath(path: SocketPath | null): string {
  return shownAddress(String(path));
}

/** An argument as it is. Deno puts U+FFFD in the place of bytes that are not UTF-8: they are lost. */
export function text(value: string): string {
  if (value.includes("\ufffd")) {
    throw new InvalidValue(
      `must be UTF-8, because Deno loses all other bytes, got ${show(value)}`,
    );
  }
  return value;
}

/** Permission bits in octal, such as `600`. */
export function octalMode(value: string): number {
  if (!/^(0o?)?[0-7]{3}$/.test(value)) {
    throw new InvalidValue(`takes three octal digits, such as 600, and not ${show(value)}`);
  }
  return Number.parseInt(value.replace(/^0o/, ""), 8);
}

/** Permission bits as people write them: `0600`. */
export function octal(mode: number): string {
  return `0${mode.toString(8).padStart(3, "0")}`;
}

/** The highest count: more than there can be of anything that is counted. */
const MAX_COUNT = 0x7fff_ffff;

/** The most bytes that are read at a time: such a buffer fits into any memory. */
const MAX_PIECE = 16 * 1024 * 1024;

/** A whole number of at least one. */
export function positive(value: string): number {
  return wholeNumber(value, MAX_COUNT);
}

/** A number of bytes that are read at a time. */
export function piece(value: string): number {
  return wholeNumber(value, MAX_PIECE);
}

function wholeNumber(value: string, most: number): number {
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < 1) {
    throw new InvalidValue(`takes a whole number of at least 1, and not ${show(value)}`);
  }
  if (number > most) throw new InvalidValue(`takes at most ${most}, and not ${show(value)}`);
  return number;
}

/** How messages are framed; `raw` takes each read for one. */
export const FRAMINGS = ["lines", "nul", "u32be", "u32le", "content-length", "raw"] as const;

/** One of them. */
export type Framing = typeof FRAMINGS[number];

/** The shells that there is completion for. */
const SHELLS = ["bash", "zsh", "fish"] as const;

/** One of them. */
export type Shell = typeof SHELLS[number];

/** A shell. */
export function shell(value: string): Shell {
  const found = SHELLS.find((name) => name === value);
  if (found === undefined) {
    throw new InvalidValue(`takes ${SHELLS.join(", ")}, and not ${show(value)}`);
  }
  return found;
}

/** Seconds, such as `1.5`, as milliseconds. */
export function seconds(value: string): number {
  const ms = Math.ceil(Number(value) * 1000);
  if (!/^(\d+\.?\d*|\.\d+)$/.test(value)) {
    throw new InvalidValue(`takes a number of seconds, such as 1.5, and not ${show(value)}`);
  }
  if (ms > MAX_DELAY_MS) {
    const most = Math.floor(MAX_DELAY_MS / 1000);
    throw new InvalidValue(`takes at most ${most} seconds (24 days), and not ${show(value)}`);
  }
  return ms;
}

/** Seconds that are none without any. */
export function duration(value: string): number {
  const ms = seconds(value);
  if (ms < 1) throw new InvalidValue(`takes more than no time, and not ${show(value)}`);
  return ms;
}

function show(value: string): string {
  return JSON.stringify(value);
}
