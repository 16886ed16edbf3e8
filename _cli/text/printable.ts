/**
 * Text for a terminal: without control characters, which the name of a file can have, and short.
 */

import { inLocale } from "./locale.ts";

/** Printable ASCII, which needs no tables of Unicode: they take 1 to 2 ms of a start. */
const PLAIN = /^[ -~]*$/;

/** Replaces what moves the cursor, changes colors or reverses the text. */
function withoutHostile(text: string, escape: (character: string) => string): string {
  return PLAIN.test(text) ? text : text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, escape);
}

/** Escapes what a terminal would obey. */
export function printable(text: string): string {
  return withoutHostile(text, (character) => {
    const code = character.codePointAt(0) as number;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u{${code.toString(16)}}`;
  });
}

/** A quoted text, or a word, of more characters than the name of a file has. */
const LONG = /"(?:[^"\\]|\\.){256,}"|\S{256,}/gs;

/** The number of characters at each end of a message. V8 cannot search millions with LONG. */
const MAX_END_CHARS = 64 * 1024;

/** Returns a message in which the middle of each long text or word is left out. */
export function shortened(message: string): string {
  const ends = message.length > 2 * MAX_END_CHARS
    ? withoutMiddle(message, MAX_END_CHARS, MAX_END_CHARS)
    : message;
  return ends.replace(LONG, (long) => withoutMiddle(long, 100, 50));
}

function withoutMiddle(text: string, first: number, last: number): string {
  return `${text.slice(0, first)}${inLocale("…", "...")}${text.slice(-last)}`;
}

/** Quotes a word for a shell. */
export function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Returns JSON that is safe for a terminal: JSON itself leaves U+009B and U+202E raw. */
export function json(value: unknown): string {
  const escape = (unit: string) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
  return withoutHostile(
    JSON.stringify(value),
    (character) => character.split("").map(escape).join(""),
  );
}
