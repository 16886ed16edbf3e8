/**
 * The lock file beside a socket: the process that holds the `flock` on `<path>.lock` owns `<path>`.
 *
 * - The lock belongs to the descriptor, not to the file: the kernel frees it when its process ends.
 * - A holder has created its lock file itself. It removes a stale one while it holds that one's lock. So
 *   the pid in a file is its creator's, and the file belongs to the user that this process runs as.
 * - A holder may remove its lock file, because every process checks, after locking, that the path still
 *   names the file that it has locked. Without that check a removed file would mean two locks.
 * - `lock_file.ts` tells a lock from another program's file. Such a file is left as it is.
 */

import { InsecurePath } from "../../errors.ts";
import { isSameFile, isUnchanged, lstat, removeIfSame, statOpen } from "../base/file.ts";
import {
  encodeRecord,
  foreignKind,
  LOCK_MODE,
  type LockRecord,
  openLock,
  openLockSync,
  OTHER_CONTENT,
  readRecord,
} from "./lock_file.ts";
import { type Attempt, BUSY_MS, type LockPatience, type Obstacle, RETRY_MS } from "./lock_wait.ts";
import { mayBeShared, viewOf } from "./shared_file_system.ts";
import { ObservedTime } from "../base/silence.ts";
import { attempt, codeOf, failureToOwn, stateOf } from "../base/failure.ts";

/** The lock has changed since it was looked at: look again. */
const CHANGED: Obstacle = { holder: undefined };

/** The permission bits with which the owner reads and writes. */
const OWNER_BITS = 0o600;

/** The lock files that this thread has locked. */
const locked = new Set<string>();

/** Tells lock files apart: as long as one is open, no other has its inode. */
function keyOf({ dev, ino }: Deno.FileInfo): string {
  return `${dev}:${ino}`;
}

/** A lock that this process holds. */
export class PathLock implements Disposable {
  /** The user who owns the lock file: the one that this process runs as. */
  readonly uid: number | null;
  #path: string;
  readonly #file: Deno.FsFile;
  readonly #info: Deno.FileInfo;
  #held = true;

  private constructor(path: string, file: Deno.FsFile, info: Deno.FileInfo) {
    this.#path = path;
    this.uid = info.uid;
    this.#file = file;
    this.#info = info;
    locked.add(keyOf(info));
  }

  /** The path of the lock file. */
  get path(): string {
    return this.#path;
  }

  /** Takes a lock, as soon as that is possible and as long as there is patience. */
  static async acquire(
    path: string,
    wanted: Attempt,
    patience: LockPatience,
    signal?: AbortSignal,
  ): Promise<PathLock> {
    for (;;) {
      const result = await PathLock.try(path, wanted);
      if (result instanceof PathLock) return result;
      await patience.wait(result, signal);
    }
  }

  /** Takes a lock now, or returns what stands in the way. */
  static async try(path: string, wanted: Attempt): Promise<PathLock | Obstacle> {
    let found = null;
    try {
      found = lstat(path);
      if (found === null) return PathLock.#create(path);
      const foreign = foreignKind(found);
      if (foreign !== undefined) return refusal(path, foreign, found);
      return PathLock.#replace(path, found, await openLock(path));
    } catch (error) {
      return obstacleOf(path, wanted, found, error);
    }
  }

  /**
   * Takes a lock now, without waiting for its file to open. A file of another user than `uid` could block,
   * and is refused.
   */
  static trySync(path: string, wanted: Attempt, uid: number | null): PathLock | Obstacle {
    let found = null;
    try {
      found = lstat(path);
      if (found === null) return PathLock.#create(path);
      const foreign = foreignKind(found) ?? (found.uid === uid ? undefined : OTHER_CONTENT);
      if (foreign !== undefined) return refusal(path, foreign, found);
      return PathLock.#replace(path, found, openLockSync(path));
    } catch (error) {
      return obstacleOf(path, wanted, found, error);
    }
  }

  static #create(path: string): PathLock | Obstacle {
    const file = Deno.openSync(path, {
      read: true,
      write: true,
      createNew: true,
      mode: LOCK_MODE,
    });
    let info: Deno.FileInfo | null = null;
    try {
      info = statOpen(file) ?? infoByContent(file, path);
      // Another process may have found it before it was locked, and take it for stale.
      if (info === null || !tryLock(file, true) || !isSameFile(lstat(path), info)) {
        return close(file, CHANGED);
      }
      if (((info.mode ?? LOCK_MODE) & OWNER_BITS) !== OWNER_BITS) {
        throw new Deno.errors.NotSupported(
          "this process's umask takes away its own permissions for the files that it creates, so no " +
            'later start could open the lock. Run it under "umask 077"',
        );
      }
      write(file, encodeRecord(Deno.pid));
      return new PathLock(path, file, info);
    } catch (error) {
      // No space left, for example: an empty lock is of no use.
      removeIfSame(path, info ?? statAgain(file));
      file.close();
      throw error;
    }
  }

  /** Takes the place of a lock file that nobody holds. */
  static #replace(path: string, found: Deno.FileInfo, file: Deno.FsFile): PathLock | Obstacle {
    try {
      const seen = statOpen(file);
      const info = seen ?? found;
      if (!isSameFile(found, info)) return CHANGED;
      const record = readRecord(file);
      if (record === undefined) return refusal(path, OTHER_CONTENT, info);
      if (!tryLock(file, true)) return { ...record, info, isOurs: locked.has(keyOf(info)) };
      if (!isSameFile(lstat(path), info)) return CHANGED;
      if (readRecord(file) === undefined) return refusal(path, OTHER_CONTENT, info);
      if (seen === undefined && infoByContent(file, path) === null) return CHANGED;
      Deno.removeSync(path);
      return PathLock.#create(path);
    } finally {
      // After the new file was created: until then the inode cannot be used again.
      file.close();
    }
  }

  /** Writes down the socket of the holder, and whether it has published it by renaming it. */
  mark(how: "bound" | "published", socket: Deno.FileInfo): void {
    const view = mayBeShared(socket) ? viewOf(socket) : undefined;
    const inode = how === "published" ? socket.ino ?? 0 : undefined;
    if (inode !== undefined || view !== undefined) {
      write(this.#file, encodeRecord(Deno.pid, inode, view));
    }
  }

  /** Gives the lock file another name, over the file that has it: then this is the lock there. */
  moveTo(path: string): void {
    Deno.renameSync(this.#path, path);
    this.#path = path;
  }

  /** Whether the name is still that of the file that is locked. */
  hasName(): boolean {
    return isSameFile(lstat(this.#path), this.#info);
  }

  /** Whether the name is still that of the file that is locked, or nobody's. */
  isInPlace(): boolean {
    const info = lstat(this.#path);
    return info === null || isSameFile(info, this.#info);
  }

  /** Removes the lock file, if it is still this one, and unlocks it. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    try {
      removeIfSame(this.#path, this.#info);
    } finally {
      locked.delete(keyOf(this.#info));
      try {
        // Explicitly: a child between fork and exec may share the open file for a moment.
        this.#file.unlockSync();
      } catch {
        // Closing the file unlocks it as well.
      }
      this.#file.close();
    }
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** Returns what a lock file says, without locking it; `undefined` where there is none, or it cannot be read. */
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

/** What a look at a lock file tells. */
export interface LockState {
  held: boolean;
  holder?: number;
  /**
   * Why it cannot be told whether the lock is held: this process may not open it, or another program's file
   * is there. No server of this package starts beside such a file.
   */
  hidden?: string;
}

const HIDDEN: LockState = { held: false, hidden: "its lock is not for this process to see" };
const FOREIGN: LockState = {
  held: false,
  hidden: "another program's file is in the place of its lock",
};

/** Reports whether a lock is held, by a shared lock that is given back at once. */
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
    // The pid of a stale lock is not the one of the process that is just replacing it: ask twice.
    if (holder !== undefined && holder === last?.holder && isSameFile(found, last.info)) {
      return { held: true, holder };
    }
    if (isLate) return { held: true };
    // An empty file: its holder is about to write its pid.
    if (holder === undefined) await time.pause(RETRY_MS);
    last = { info: found, holder };
  }
}

/** Locks a file if nobody else has locked it; Deno does not say what its errors mean. */
function tryLock(file: Deno.FsFile, exclusive: boolean): boolean {
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

function close(file: Deno.FsFile, result: Obstacle): Obstacle {
  file.close();
  return result;
}

/**
 * Whether a path leads to another file, or to none, since it was looked at.
 *
 * @param error Why it could not be used. That it was missing for an instant is enough: where no time of birth
 * is recorded, the next file can look the same.
 */
function hasChanged(path: string, found: Deno.FileInfo, error: unknown): boolean {
  if (codeOf(error) === "ENOENT") return true;
  try {
    return !isUnchanged(lstat(path), found);
  } catch {
    // The error that led here says more.
    return false;
  }
}

/** Whether a file may not be opened, or not in time: its owner decides that. */
function isShut(error: unknown): boolean {
  return error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.TimedOut ||
    error instanceof Deno.errors.NotCapable;
}

/** An obstacle if trying again may help, or if another user's file is there; throws the rest in our shape. */
function obstacleOf(
  path: string,
  wanted: Attempt,
  found: Deno.FileInfo | null,
  error: unknown,
): Obstacle {
  // Another process created or removed it since.
  if (error instanceof Deno.errors.AlreadyExists) return CHANGED;
  if (found !== null && hasChanged(path, found, error)) return CHANGED;
  if (found === null || !isShut(error)) throw failureToOwn(wanted, error);
  return {
    error: new InsecurePath(
      `${attempt("lock", path)}: it belongs to uid ${found.uid}, and this process cannot open or ` +
        `replace it (${stateOf(error)}). Choose a directory of your own`,
      { operation: "lock", path, cause: error },
    ),
  };
}

function refusal(path: string, found: string, { uid }: Deno.FileInfo): Obstacle {
  return {
    error: new InsecurePath(
      `${
        attempt("lock", path)
      }: it is ${found} of uid ${uid}, so it is not a lock of this package, ` +
        `and another program may need it. It was left untouched. Remove it if no program uses it ` +
        `any more, or choose another path`,
      { operation: "lock", path },
    ),
  };
}

/** Describes an open file after a first attempt has failed; `null` where it fails again. */
function statAgain(file: Deno.FsFile): Deno.FileInfo | null {
  try {
    return statOpen(file) ?? null;
  } catch {
    return null;
  }
}

/**
 * Describes a lock file of ours where Deno does not permit to ask its descriptor: what is written to it must be
 * found at the path. Returns `null` if the path leads to another file by now.
 */
function infoByContent(file: Deno.FsFile, path: string): Deno.FileInfo | null {
  const mark = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36).padStart(7, "0");
  write(file, encodeRecord(Deno.pid, undefined, mark));
  const info = lstat(path);
  if (!info?.isFile) return null;
  try {
    using there = openLockSync(path);
    return readRecord(there)?.view === mark ? info : null;
  } catch (error) {
    if (codeOf(error) === "ENOENT") return null;
    throw error;
  }
}

/** Writes the whole content in one piece: the file is never cut short. */
function write(file: Deno.FsFile, record: Uint8Array<ArrayBuffer>): void {
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(record);
}
