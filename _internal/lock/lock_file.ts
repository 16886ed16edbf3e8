/**
 * The content of a lock file `<path>.lock`: how ours is recognized, opened and locked.
 *
 * - MySQL, MUNGE, PostgreSQL, Wayland and tmux use the same name. A file that is not ours is never
 *   locked, written to, moved or removed. It is opened only if it has exactly the size of ours.
 * - A file is ours if its first line is {@linkcode FIRST_LINE}, or if it is empty and has
 *   {@linkcode LOCK_MODE}: see docs/design/locks.md.
 * - Opening a file can block, so it happens on another thread: see docs/design/opening_a_lock.md.
 */

import { kindOf } from "../base/file.ts";
import { isGranted } from "../base/deno_permissions.ts";
import { onAbort, turn } from "../base/event_loop.ts";
import { codeOf, stateOf } from "../base/failure.ts";

/** The mode of a lock file. The other programs' locks are not executable. */
export const LOCK_MODE = 0o700;

const FIRST_LINE = "uds socket lock\n";
/** PostgreSQL's locks have about 70 bytes, those of the others 0 to 11. */
const SIZE_BYTES = 499;
const CLAIM = " by claim";
const RECORD = /^(\d{1,10}) *\n(?:published (\d{1,20})( by claim)? *\n)?(?:([0-9a-z]{7}) *\n)?/;

/** What {@linkcode foreignKind} returns for a file that only its content distinguishes. */
export const OTHER_CONTENT = "a file with other content";

/** How long opening a lock file may take; opening a file on a local disk takes microseconds. */
const OPEN_MS = 1000;

/** The paths of files that took longer to open, and the ends of all their openings. */
const blocked = new Map<string, Promise<unknown>>();

/** The content of a lock file. */
export interface LockRecord {
  /** The pid of its holder; `undefined` until the holder has written it. */
  holder: number | undefined;
  /** The inode of the socket that the holder has published by renaming it. */
  published?: number;
  /** Whether that is the socket of a `claim()`, which wants another name when it is replaced. */
  byClaim?: boolean;
  /** The holder's view of its socket, if that could be on a shared file system. */
  view?: string;
}

/** Writes a whole record in one piece, so that the file is never cut short. */
export function writeRecord(
  file: Deno.FsFile,
  { published, byClaim, view }: Omit<LockRecord, "holder"> = {},
): void {
  const line = published === undefined ? "" : `published ${published}${byClaim ? CLAIM : ""}\n`;
  const last = view === undefined ? "" : `${view}\n`;
  const record = `${FIRST_LINE}${Deno.pid}\n${line}${last}`.padEnd(SIZE_BYTES - 1) + "\n";
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(record));
}

/** Returns the content of a lock file, or `undefined` if the file is another program's. */
export function readRecord(file: Deno.FsFile): LockRecord | undefined {
  const buffer = new Uint8Array(SIZE_BYTES);
  file.seekSync(0, Deno.SeekMode.Start);
  const count = file.readSync(buffer) ?? 0;
  if (count === 0) return { holder: undefined };
  const text = new TextDecoder().decode(buffer.subarray(0, count));
  if (!text.startsWith(FIRST_LINE)) return undefined;
  const [, digits, published, claim, view] = RECORD.exec(text.slice(FIRST_LINE.length)) ?? [];
  return {
    holder: digits === undefined ? undefined : Number(digits),
    ...(published !== undefined && { published: Number(published) }),
    ...(claim !== undefined && { byClaim: true }),
    ...(view !== undefined && { view }),
  };
}

/** Returns what a file is if it cannot be our lock. `undefined` means that its content decides. */
export function foreignKind(info: Deno.FileInfo): string | undefined {
  if (!info.isFile) return kindOf(info);
  // For an instant, FUSE shows a file that was just removed, with 0 links.
  if ((info.nlink ?? 1) > 1) return "a file with hard links";
  if (info.size === 0) {
    return ((info.mode ?? 0) & 0o777) === LOCK_MODE ? undefined : "an empty file";
  }
  return info.size === SIZE_BYTES ? undefined : OTHER_CONTENT;
}

/**
 * Opens a file that may be a lock by its kind and size. Compare the opened file with the one that
 * was found: another file may have taken its place.
 */
export async function openLock(path: string): Promise<Deno.FsFile> {
  if (blocked.has(path)) {
    // A caller that tries again and again would keep the openings from ending.
    await turn();
    throw tooLate();
  }
  const opening = openFirst(path);
  // Not setTimeout: its first use loads Node's timers, 12 to 15 ms of a start (Deno 2.9.6).
  const limit = AbortSignal.timeout(OPEN_MS);
  let stop = () => {};
  const late = new Promise<undefined>((resolve) => {
    stop = onAbort(limit, () => resolve(undefined));
  });
  const file = await Promise.race([opening, late]).finally(stop);
  if (file !== undefined) return file;
  const closed = opening.then((file) => file.close(), () => {});
  // Several openings may have begun before the first one was late.
  const ended = Promise.all([blocked.get(path), closed]);
  blocked.set(path, ended);
  ended.then(() => blocked.get(path) === ended && blocked.delete(path));
  throw tooLate();
}

async function openFirst(path: string): Promise<Deno.FsFile> {
  const write = isGranted("write", path);
  try {
    return await Deno.open(path, { read: true, write });
  } catch (error) {
    // A lock can be examined on a read-only file system too.
    if (write && codeOf(error) === "EROFS") return await Deno.open(path);
    throw error;
  }
}

/** Opens a lock file of this user without another thread. Another user's file could block. */
export function openLockSync(path: string): Deno.FsFile {
  return Deno.openSync(path, { read: true, write: true });
}

/** Locks a file if no other descriptor has locked it. Explains an error of the system. */
export function tryLock(file: Deno.FsFile, exclusive: boolean): boolean {
  try {
    return file.tryLockSync(exclusive);
  } catch (error) {
    if (!(error instanceof Error) || error instanceof Deno.errors.Interrupted) throw error;
    const Class = error.constructor as ErrorConstructor;
    throw new Class(
      `its file system cannot lock files by flock (${stateOf(error)}). ` +
        `Choose a directory on a local file system`,
      { cause: error },
    );
  }
}

function tooLate(): Error {
  return new Deno.errors.TimedOut(`opening it took longer than ${OPEN_MS} ms`);
}
