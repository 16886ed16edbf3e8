/** Parsers of the values of options and arguments. */

import { MAX_DELAY_MS } from "../../_internal/base/check.ts";
import { shownAddress } from "../../_internal/base/shown_address.ts";
import type { SocketPath } from "../../address.ts";
import { shellQuote } from "../text/printable.ts";

/** A value is not valid. The message begins after the name of the option or argument. */
export class InvalidValue extends Error {
  /** @param expected What it must be. */
  constructor(expected: string, value: string, remedy: string = "") {
    super(`must be ${expected}, got ${JSON.stringify(value)}${remedy}`);
  }
}

/** Parses a path. `@name` is an abstract name, with escapes. */
export function socketPath(value: string): SocketPath {
  const [, scheme, path] = /^(file|unix):(?:\/\/)?(.*)$/is.exec(value) ?? [];
  if (path !== undefined) {
    const remedy = path === "" ? "" : `. Write ${JSON.stringify(path)}`;
    throw new InvalidValue(`a path or @name without "${scheme}:"`, value, remedy);
  }
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(value)) {
    throw new InvalidValue("a path or @name, not a URL", value);
  }
  return value.startsWith("@") ? `\0${unescapeName(text(value))}` : text(value);
}

/**
 * Returns the abstract name of `@name`: `\0`, `\xNN` and `\\` are a NUL, a byte and a backslash.
 */
function unescapeName(value: string): string {
  const name = value.slice(1).replace(/\\x([0-9a-f]{2})|\\.?|[^\\]+/gis, (part, hex?: string) => {
    if (hex !== undefined) return `%${hex}`;
    if (part === "\\0") return "%00";
    if (part.startsWith("\\") && part !== "\\\\") {
      throw new InvalidValue("@name, where a backslash begins \\0, \\xNN or \\\\", value);
    }
    return encodeURIComponent(part.replace("\\\\", "\\"));
  });
  try {
    return decodeURIComponent(name);
  } catch {
    throw new InvalidValue("an abstract name in UTF-8, because Deno cannot name others", value);
  }
}

/** Returns an address as the command line writes it. */
export function shownPath(path: SocketPath | null): string {
  return shownAddress(String(path));
}

/** Returns a text. Refuses U+FFFD: Deno puts it in the place of bytes that are not UTF-8. */
export function text(value: string): string {
  if (value.includes("\ufffd")) {
    throw new InvalidValue("UTF-8, because Deno loses all other bytes", value);
  }
  return value;
}

/** Parses the path of a local file. Refuses a URL. */
export function file(value: string): string {
  if (value === "") throw new InvalidValue("the path of a file", value);
  if (/^([a-z][a-z0-9+.-]*:\/\/|(file|data|jsr|npm|node):)/i.test(value)) {
    throw new InvalidValue("the path of a file, not a URL", value);
  }
  return text(value);
}

/** Parses the name of a descriptor. A service gets several, separated by colons. */
export function descriptorName(value: string): string {
  // The rule of sd_listen_fds(3).
  if (!/^[ -9;-~]{1,255}$/.test(value)) {
    throw new InvalidValue('1 to 255 printable ASCII characters without ":"', value);
  }
  return value;
}

/** Names, separated by commas. */
export function names(value: string): string[] {
  const all = text(value).split(",");
  if (all.includes("")) throw new InvalidValue("names, separated by commas", value);
  return all;
}

/** Parses JSON. */
export function jsonValue(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    const remedy = `. For a text, write ${shellQuote(JSON.stringify(value))}. ` +
      `For an object, write '{"name":1}'`;
    throw new InvalidValue("valid JSON", value, remedy);
  }
}

/** Parses permission bits in octal, such as `600`. */
export function octalMode(value: string): number {
  if (!/^(0o?)?[0-7]{3}$/.test(value)) {
    throw new InvalidValue("three octal digits, such as 600", value);
  }
  return Number.parseInt(value.replace(/^0o/, ""), 8);
}

/** The highest count: more than any system has of what is counted. */
const MAX_COUNT = 0x7fff_ffff;

/** The most bytes to read at a time: a buffer of that size fits into any memory. */
const MAX_PIECE_BYTES = 16 * 1024 * 1024;

/** Parses a whole number from 1 to some other one. */
function wholeNumber(most: number): (value: string) => number {
  return (value) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < 1) {
      throw new InvalidValue("a whole number of at least 1", value);
    }
    if (number > most) throw new InvalidValue(`at most ${most}`, value);
    return number;
  };
}

/** Parses a count. */
export const positive: (value: string) => number = wholeNumber(MAX_COUNT);

/** Parses a number of bytes to read at a time. */
export const piece: (value: string) => number = wholeNumber(MAX_PIECE_BYTES);

/** Parses a number of workers. */
export const workers: (value: string) => number = wholeNumber(1024);

/** The kinds of Deno permissions. */
const KINDS = ["read", "write", "net", "env", "run", "sys", "ffi", "import"];

/** Parses Deno permissions, such as `read=/data,/etc net`. */
export function grants(value: string): Deno.PermissionOptionsObject {
  const entries = text(value).split(" ").filter((grant) => grant !== "").map((grant) => {
    const [, kind = "", values] = /^([a-z]*)(?:=(.+))?$/.exec(grant) ?? [];
    if (!KINDS.includes(kind)) {
      throw new InvalidValue(`KIND or KIND=VALUES of ${KINDS.join(", ")}`, grant);
    }
    return [kind, values === undefined ? true : values.split(",")];
  });
  if (entries.length === 0) throw new InvalidValue("at least one permission", value);
  return Object.fromEntries(entries);
}

/** How messages are framed. With `raw` each read is a message. */
export const FRAMINGS = ["lines", "nul", "u32be", "u32le", "content-length", "raw"] as const;

/** Those of calls. */
export const CALL_FRAMINGS: readonly Framing[] = FRAMINGS.filter((framing) => framing !== "raw");

/** One of them. */
export type Framing = typeof FRAMINGS[number];

/** The types of sockets. */
export const TYPES = ["stream", "dgram", "seqpacket"] as const;

/** One of them. */
export type SocketType = typeof TYPES[number];

/** The shells that completion supports. */
export const SHELLS = ["bash", "zsh", "fish"] as const;

/** One of them. */
export type Shell = typeof SHELLS[number];

/** Returns a parser of one of some words. */
export function oneOf<T extends string>(values: readonly T[]): (value: string) => T {
  return (value) => {
    const found = values.find((each) => each === value);
    if (found !== undefined) return found;
    throw new InvalidValue(`one of ${values.join(", ")}`, value);
  };
}

/** Parses seconds, such as `1.5`. Returns milliseconds. */
export function seconds(value: string): number {
  const ms = Math.ceil(Number(value) * 1000);
  if (!/^(\d+\.?\d*|\.\d+)$/.test(value)) {
    throw new InvalidValue("a number of seconds, such as 1.5", value);
  }
  if (ms > MAX_DELAY_MS) {
    const most = Math.floor(MAX_DELAY_MS / 1000);
    throw new InvalidValue(`at most ${most} seconds (24 days)`, value);
  }
  return ms;
}

/** Parses seconds that are more than none. Returns milliseconds. */
export function duration(value: string): number {
  const ms = seconds(value);
  if (ms < 1) throw new InvalidValue("more than 0", value);
  return ms;
}
