/**
 * A write of no bytes, by which the kernel reports that the peer has closed.
 *
 * node:net reports such a write as done although it has failed. The failure shows because the
 * handle then writes once more, and completes the write in a later turn. (Deno 2.9.5 and 2.9.6:
 * EPIPE in strace.)
 */

/** A handle of node:net that writes. */
interface WritingHandle {
  writeBuffer(request: { oncomplete(): void }, data: Uint8Array): unknown;
}

const NOTHING = new Uint8Array(0);

/** How many turns of the event loop to wait for the failure. It shows after one. */
const TURNS = 8;

/**
 * Whether an empty write of this process has succeeded at once. Until then a late completion proves
 * nothing: another version of Deno may complete all of them late.
 */
let isTakenAtOnce = false;

/**
 * Reports whether an empty write fails. No other write of the handle may be pending. Resolves to
 * `false` if that cannot be known.
 */
export async function emptyWriteFails(handle: object | null | undefined): Promise<boolean> {
  if (!isWriting(handle)) return false;
  let isLater = false;
  try {
    handle.writeBuffer({ oncomplete: () => void (isLater = true) }, NOTHING);
  } catch {
    // Not the method that it was.
    return false;
  }
  for (let i = 0; i < TURNS && !isLater; i++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  if (!isLater) isTakenAtOnce = true;
  return isLater && isTakenAtOnce;
}

/** Finds out by a new socket whether an empty write succeeds at once, unless that is known. */
export function learnFrom(handle: object | null | undefined): void {
  if (!isTakenAtOnce) emptyWriteFails(handle);
}

function isWriting(handle: object | null | undefined): handle is WritingHandle {
  return typeof (handle as WritingHandle | null | undefined)?.writeBuffer === "function";
}
