/** UTF-8 that refuses what it cannot represent, in both directions. */

/** Much faster than a decoder that is fatal, and it leaves a mark where the bytes are invalid. */
const LOOSE = new TextDecoder("utf-8", { ignoreBOM: true });
const STRICT = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
const REPLACEMENT = "\uFFFD";

/** The text of the bytes, or `undefined` where they are no UTF-8. A byte order mark is kept. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  const text = LOOSE.decode(bytes);
  if (!text.includes(REPLACEMENT)) return text;
  // The mark may have been sent as such.
  try {
    return STRICT.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Refuses a text that has no UTF-8. */
export function checkWellFormed(text: string): void {
  if (!text.isWellFormed()) {
    throw new TypeError("Cannot encode a message: the text has a lone surrogate");
  }
}
