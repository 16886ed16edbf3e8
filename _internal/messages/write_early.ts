/** Writing before the end of a turn, which a channel of `messages()` does for calls. */

/** The method of a channel. */
export const WRITE_EARLY: unique symbol = Symbol("writeEarly");

/** Begins to write what was sent to a channel of `messages()`. */
export function writeEarly(channel: object): void {
  (channel as { [WRITE_EARLY](): void })[WRITE_EARLY]();
}
