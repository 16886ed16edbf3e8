/**
 * A write of no bytes, by which the kernel reports that the peer has closed.
 *
 * node:net takes such a write for done although it has failed. The failure shows because the handle
 * then writes once more, and completes the write in a later turn. (Deno 2.9.5 and 2.9.6: EPIPE in
 * strace.)
 */

/** A handle of node:net that writes. */
interface WritingHandle {
  writeBuffer(request: { oncomplete(): void }, data: Uint8Array): unknown;
}

const NOTHING = new Uint8Array(0);

/** After so many turns a write has not failed, or is asked about again. One is enough by far. */
const TURNS = 8;

/**
 * Whether an empty write of this process was taken at once. Before that, one that completes later
 * shows nothing: in another version of Deno all might do so.
 */
let isTakenAtOnce = false;

/**
 * Reports whether an empty write fails. No other write of the handle may be pending. Resolves to
 * `false` if that cannot be known.
 */
export async function emptyWriteFails(handle: object | null | undefined): Promise<boolean> {
  if (!isWriting(handle)) return false;
  let isLater = false;
  handle.writeBuffer({ oncomplete: () => void (isLater = true) }, NOTHING);
  for (let i = 0; i < TURNS && !isLater; i++) {
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
  if (!isLater) isTakenAtOnce = true;
  return isLater && isTakenAtOnce;
}

/** Notes whether an empty write of a new socket is taken at once, unless that is known already. */
export function learnFrom(handle: object | null | undefined): void {
  if (!isTakenAtOnce) emptyWriteFails(handle);
}

function isWriting(handle: object | null | undefined): handle is WritingHandle {
  return typeof (handle as WritingHandle | null | undefined)?.writeBuffer === "function";
}
