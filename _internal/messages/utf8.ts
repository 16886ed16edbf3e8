/** UTF-8 that is refused when it is invalid, in both directions. */

/** Much faster than a fatal decoder. It leaves a mark where the bytes are invalid. */
const LOOSE = new TextDecoder("utf-8", { ignoreBOM: true });
const STRICT = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });
const REPLACEMENT = "\uFFFD";

/** Returns the text of the bytes, or `undefined` if they are not UTF-8. Keeps a byte order mark. */
export function decodeUtf8(bytes: Uint8Array): string | undefined {
  const text = LOOSE.decode(bytes);
  if (!text.includes(REPLACEMENT)) return text;
  // The peer may have sent the mark itself.
  try {
    return STRICT.decode(bytes);
  } catch {
    return undefined;
  }
}

/** Throws if the text has a lone surrogate, which UTF-8 cannot hold. */
export function checkWellFormed(text: string): void {
  if (!text.isWellFormed()) {
    throw new TypeError("Cannot encode a message: the text has a lone surrogate");
  }
}
