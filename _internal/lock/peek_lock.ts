/** The state of a lock, read without taking it. */

import { isSameFile, lstat, statOpen } from "../base/file.ts";
import { ObservedTime } from "../base/silence.ts";
import { foreignKind, type LockRecord, openLock, readRecord, tryLock } from "./lock_file.ts";
import { BUSY_MS, RETRY_MS } from "./lock_wait.ts";
import { hasChanged, isShut } from "./obstacle.ts";

/** The state of a lock. */
export interface LockState {
  held: boolean;
  holder?: number;
  /**
   * Why it is unknown whether the lock is held: this process may not open it, or another program's
   * file is there. No server of this package starts beside such a file.
   */
  hidden?: string;
}

const HIDDEN: LockState = { held: false, hidden: "this process may not open its lock" };
const FOREIGN: LockState = {
  held: false,
  hidden: "another program's file is in the place of its lock",
};

/** Reports whether the lock of a path is held, by a shared lock for an instant. */
export async function peekLock(socketPath: string): Promise<LockState> {
  const time = new ObservedTime();
  let last: Examined | undefined;
  for (;;) {
    const isLate = time.elapsed >= BUSY_MS;
    const lock = await examine(`${socketPath}.lock`, true);
    if (lock === "absent") return { held: false };
    if (lock === "shut") return HIDDEN;
    if (lock === "foreign" || isLate && lock === "changed") return FOREIGN;
    if (lock === "changed") continue;
    if (!lock.held) return { held: false };
    const { holder } = lock.record;
    // While a stale lock is being replaced, its pid is not the holder's: read it twice.
    if (
      holder !== undefined && holder === last?.record.holder && isSameFile(lock.info, last.info)
    ) {
      return { held: true, holder };
    }
    if (isLate) return { held: true };
    // Its holder is about to write its pid.
    if (holder === undefined) await time.pause(RETRY_MS);
    last = lock;
  }
}

/** Returns the content of a lock file; `undefined` if it is missing or unreadable. */
export async function readLock(path: string): Promise<LockRecord | undefined> {
  const lock = await examine(path, false);
  return typeof lock === "string" ? undefined : lock.record;
}

/**
 * Reports whether the lock of a path may have been left for this socket. Call this when the lock is
 * known to be free.
 *
 * A holder that publishes its socket by renaming it records its inode, after the bind. Another
 * program's socket has another inode, or the same one and a later bind.
 */
export async function isLeftFor(socketPath: string, socket: Deno.FileInfo): Promise<boolean> {
  const lock = await examine(`${socketPath}.lock`, false);
  if (typeof lock === "string") return false;
  const { info, record: { published } } = lock;
  if (published === undefined) return true;
  return published === socket.ino && (socket.mtime?.getTime() ?? 0) <= (info.mtime?.getTime() ?? 0);
}

/** A lock file of ours. */
interface Examined {
  info: Deno.FileInfo;
  record: LockRecord;
  held: boolean;
}

/** Reads a lock file once. With `locks`, also finds out whether it is held. */
async function examine(
  path: string,
  locks: boolean,
): Promise<Examined | "absent" | "foreign" | "changed" | "shut"> {
  const info = lstat(path);
  if (info === null) return "absent";
  if (foreignKind(info) !== undefined) return "foreign";
  try {
    using file = await openLock(path);
    if (!isSameFile(info, statOpen(file) ?? info)) return "changed";
    const record = readRecord(file);
    if (record === undefined) return "foreign";
    const held = locks && !tryLock(file, false);
    if (locks && !held) file.unlockSync();
    return { info, record, held };
  } catch (error) {
    if (hasChanged(path, info, error)) return "changed";
    if (isShut(error)) return "shut";
    throw error;
  }
}
