/** Addresses as messages show them, and as the command line writes them. */

/** An address in quotes; of an abstract name the NULs at its end are shortened. */
export function quoteAddress(address: string): string {
  return address.startsWith("\0") ? `"${shortAddress(address)}"` : JSON.stringify(address);
}

/** An address; of an abstract name the NULs at its end are shortened: `@padded\0…`. */
export function shortAddress(address: string): string {
  return shownAddress(address.replace(/(?<=^\0.*\0)\0+$/s, "")) +
    (/^\0.*\0\0$/s.test(address) ? "…" : "");
}

/** An address as the command line reads it: a path as it is, an abstract name as `@name` with escapes. */
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
