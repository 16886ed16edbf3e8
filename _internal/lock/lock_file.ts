/**
 * A lock file, `<path>.lock`: what tells ours from another program's, and how it is opened.
 *
 * - MySQL, MUNGE, PostgreSQL, Wayland and tmux use the same name. A file that is not ours is never locked,
 *   written to, moved or removed. It is not even opened, unless it has exactly the size of ours.
 * - A file is ours if its first line is {@linkcode FIRST_LINE}. It is written in one piece of a fixed size,
 *   so it is never cut short.
 * - An empty file is ours if it has {@linkcode LOCK_MODE}, which the system sets when it creates the file.
 *   A process that was killed between creating its lock and writing to it leaves such a file. The other
 *   programs' locks are not executable, so theirs never count as ours.
 * - Opening a file can block: a fifo until it has a writer, a leased file for 45 s. Another user may put
 *   either there after the look. So a lock is opened on another thread, within {@linkcode OPEN_MS}, and for
 *   reading and writing where that is permitted: opening a fifo so never blocks on Linux.
 */

import { kindOf } from "../base/file.ts";
import { isGranted } from "../base/deno_permissions.ts";
import { codeOf } from "../base/failure.ts";

/** The mode of a lock file: for its owner alone. */
export const LOCK_MODE = 0o700;

const FIRST_LINE = "uds socket lock\n";
/** PostgreSQL's locks have about 70 bytes, those of the others 0 to 11. */
const SIZE_BYTES = 499;
const RECORD = /^(\d{1,10}) *\n(?:published (\d{1,20}) *\n)?(?:([0-9a-z]{7}) *\n)?/;

/** How long opening a lock file may take; opening a file on a local disk takes microseconds. */
const OPEN_MS = 1000;

/** The paths that are being opened, and were not within that time. */
const blocked = new Set<string>();

/** The content of a lock file. */
export interface LockRecord {
  /** The pid of its holder; `undefined` until the holder has written it. */
  holder: number | undefined;
  /** The inode of the socket that the holder has published by renaming it. */
  published?: number;
  /** Its socket as it saw it, where that could be on a shared file system. */
  view?: string;
}

/** The bytes of a lock file. */
export function encodeRecord(
  pid: number,
  published?: number,
  view?: string,
): Uint8Array<ArrayBuffer> {
  const line = published === undefined ? "" : `published ${published}\n`;
  const last = view === undefined ? "" : `${view}\n`;
  const record = `${FIRST_LINE}${pid}\n${line}${last}`.padEnd(SIZE_BYTES - 1) + "\n";
  return new TextEncoder().encode(record);
}

/** Returns the content of a lock file, or `undefined` if the file is another program's. */
export function readRecord(file: Deno.FsFile): LockRecord | undefined {
  const buffer = new Uint8Array(SIZE_BYTES);
  file.seekSync(0, Deno.SeekMode.Start);
  const count = file.readSync(buffer) ?? 0;
  if (count === 0) return { holder: undefined };
  const text = new TextDecoder().decode(buffer.subarray(0, count));
  if (!text.startsWith(FIRST_LINE)) return undefined;
  const [, digits, published, view] = RECORD.exec(text.slice(FIRST_LINE.length)) ?? [];
  return {
    holder: digits === undefined ? undefined : Number(digits),
    ...(published !== undefined && { published: Number(published) }),
    ...(view !== undefined && { view }),
  };
}

/** Returns what a file is instead of a lock of ours, or `undefined` if it may be one: then read it. */
export function foreignKind(info: Deno.FileInfo): string | undefined {
  if (!info.isFile) return kindOf(info);
  // FUSE shows a file that has just been removed for an instant, with none.
  if ((info.nlink ?? 1) > 1) return "a file with hard links";
  if (info.size === 0) {
    return ((info.mode ?? 0) & 0o777) === LOCK_MODE ? undefined : "an empty file";
  }
  return info.size === SIZE_BYTES ? undefined : OTHER_CONTENT;
}

/** What {@linkcode foreignKind} returns where the content says it. */
export const OTHER_CONTENT = "a file with other content";

/**
 * Opens a file that may be a lock by its kind and size. Compare what was opened with what was found: it
 * may be another file by then.
 */
export async function openLock(path: string): Promise<Deno.FsFile> {
  if (blocked.has(path)) throw tooLate();
  const opening = openFirst(path);
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), OPEN_MS);
  });
  const file = await Promise.race([opening, late]).finally(() => clearTimeout(timer));
  if (file !== undefined) return file;
  blocked.add(path);
  opening.then((file) => file.close(), () => {}).finally(() => blocked.delete(path));
  throw tooLate();
}

async function openFirst(path: string): Promise<Deno.FsFile> {
  const write = isGranted("write", path);
  try {
    return await Deno.open(path, { read: true, write });
  } catch (error) {
    // Looking at a lock works on a read-only file system too.
    if (write && codeOf(error) === "EROFS") return await Deno.open(path);
    throw error;
  }
}

/** Opens a lock file of this user at once: another user's could block. */
export function openLockSync(path: string): Deno.FsFile {
  return Deno.openSync(path, { read: true, write: true });
}

function tooLate(): Error {
  return new Deno.errors.TimedOut(`opening it took longer than ${OPEN_MS} ms`);
}
