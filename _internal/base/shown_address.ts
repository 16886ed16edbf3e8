/** Addresses in messages and on the command line. */

/** Returns an address in quotes. The final NULs of an abstract name are shortened. */
export function quoteAddress(address: string): string {
  return address.startsWith("\0") ? `"${shortAddress(address)}"` : JSON.stringify(address);
}

/** Returns an address. The final NULs of an abstract name are shortened: `@padded\0…`. */
export function shortAddress(address: string): string {
  const isAbstract = address.startsWith("\0");
  let end = address.length;
  while (isAbstract && end > 2 && address.endsWith("\0\0", end)) end--;
  return shownAddress(address.slice(0, end)) + (end < address.length ? "…" : "");
}

/** Returns an address in the form that the command line reads: a path, or `@name` with escapes. */
export function shownAddress(address: string): string {
  return address.startsWith("\0")
    ? `@${address.slice(1).replace(/[\\\p{Cc}]/gu, escapeCharacter)}`
    : address;
}

function escapeCharacter(character: string): string {
  if (character === "\\") return "\\\\";
  if (character === "\0") return "\\0";
  const bytes = new TextEncoder().encode(character);
  return [...bytes].map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("");
}
