/** Examining a lock without taking it. */

import { codeOf } from "../base/failure.ts";
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
   * Why it is unknown whether the lock is held: this process may not open it, or another program's file is
   * there. No server of this package starts beside such a file.
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
  const path = `${socketPath}.lock`;
  const time = new ObservedTime();
  let last: { info: Deno.FileInfo; holder: number | undefined } | undefined;
  for (;;) {
    const isLate = time.elapsed >= BUSY_MS;
    const found = lstat(path);
    if (found === null) return { held: false };
    if (foreignKind(found) !== undefined) return FOREIGN;
    let holder;
    try {
      using file = await openLock(path);
      if (!isSameFile(found, statOpen(file) ?? found)) {
        if (isLate) return FOREIGN;
        continue;
      }
      const record = readRecord(file);
      if (record === undefined) return FOREIGN;
      if (tryLock(file, false)) {
        file.unlockSync();
        return { held: false };
      }
      ({ holder } = record);
    } catch (error) {
      if (hasChanged(path, found, error)) {
        if (isLate) return FOREIGN;
        continue;
      }
      if (isShut(error)) return HIDDEN;
      throw error;
    }
    // While a stale lock is being replaced, its pid is not the holder's: read it twice.
    if (holder !== undefined && holder === last?.holder && isSameFile(found, last.info)) {
      return { held: true, holder };
    }
    if (isLate) return { held: true };
    // Its holder is about to write its pid.
    if (holder === undefined) await time.pause(RETRY_MS);
    last = { info: found, holder };
  }
}

/** Returns the content of a lock file, without locking it; `undefined` if it is missing or unreadable. */
export async function readLock(path: string): Promise<LockRecord | undefined> {
  try {
    const found = lstat(path);
    if (found === null || foreignKind(found) !== undefined) return undefined;
    using file = await openLock(path);
    return isSameFile(found, statOpen(file) ?? found) ? readRecord(file) : undefined;
  } catch (error) {
    if (codeOf(error) === "ENOENT" || isShut(error)) return undefined;
    throw error;
  }
}
