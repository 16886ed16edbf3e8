/**
 * A lock on a path that this process holds: `flock` on its lock file.
 *
 * - The lock belongs to the descriptor, not to the file: the kernel frees it when its process ends.
 * - A holder has created its lock file itself. It removes a stale one while it holds that one's
 *   lock. So the pid in a file is its creator's, and the file belongs to the user that this process
 *   runs as.
 * - A holder may remove its lock file, because every process checks, after locking, that the path
 *   still names the file that it has locked. Without that check a removed file would mean two
 *   locks.
 */

import type { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";
import { isSameFile, lstat, removeIfSame, statOpen } from "../base/file.ts";
import {
  foreignKind,
  LOCK_MODE,
  openLock,
  openLockSync,
  OTHER_CONTENT,
  readRecord,
  tryLock,
  writeRecord,
} from "./lock_file.ts";
import { CHANGED, type Obstacle, obstacleOf, refusal } from "./obstacle.ts";
import { mayBeShared, viewOf } from "./shared_file_system.ts";

/** The permission bits with which the owner reads and writes. */
const OWNER_BITS = 0o600;

/** The lock files that this thread has locked. */
const locked = new Set<string>();

/** Identifies a lock file: while it is open, no other file has its inode. */
function keyOf({ dev, ino }: Deno.FileInfo): string {
  return `${dev}:${ino}`;
}

/** How the holder of a lock has bound its socket. */
export type Bound = "bound" | "published" | "published by claim";

/** A lock that this process holds until it is released. */
export class PathLock implements Disposable {
  /** The user that owns the lock file: the one that this process runs as. */
  readonly uid: number | null;
  /** The path of the lock file. */
  readonly path: string;
  readonly #file: Deno.FsFile;
  readonly #info: Deno.FileInfo;
  #held = true;

  private constructor(path: string, file: Deno.FsFile, info: Deno.FileInfo) {
    this.path = path;
    this.uid = info.uid;
    this.#file = file;
    this.#info = info;
    locked.add(keyOf(info));
  }

  /** Takes a lock now, or returns what stands in the way. */
  static async try(context: ErrorContext, path: string): Promise<PathLock | Obstacle> {
    let found = null;
    try {
      found = lstat(path);
      if (found === null) return PathLock.#create(path);
      const foreign = foreignKind(found);
      if (foreign !== undefined) return refusal(path, foreign, found);
      return PathLock.#replace(path, found, await openLock(path));
    } catch (error) {
      return obstacleOf(context, path, found, error);
    }
  }

  /**
   * Takes a lock now, without waiting for its file to open. A file of another user than `uid` could
   * block, so it is refused.
   */
  static trySync(
    context: ErrorContext,
    path: string,
    uid: number | null,
  ): PathLock | Obstacle {
    let found = null;
    try {
      found = lstat(path);
      if (found === null) return PathLock.#create(path);
      const foreign = foreignKind(found) ?? (found.uid === uid ? undefined : OTHER_CONTENT);
      if (foreign !== undefined) return refusal(path, foreign, found);
      return PathLock.#replace(path, found, openLockSync(path));
    } catch (error) {
      return obstacleOf(context, path, found, error);
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
      // Another process may have found it before it was locked, and taken it for stale.
      if (info === null || !tryLock(file, true) || !isSameFile(lstat(path), info)) {
        file.close();
        return CHANGED;
      }
      if (((info.mode ?? LOCK_MODE) & OWNER_BITS) !== OWNER_BITS) {
        throw new Deno.errors.NotSupported(
          "this process's umask takes away its own permissions for the files that it creates, so no " +
            'later start could open the lock. Run it under "umask 077"',
        );
      }
      writeRecord(file);
      return new PathLock(path, file, info);
    } catch (error) {
      // Such as no space left: an empty lock is useless.
      removeIfSame(path, info ?? statAgain(file));
      file.close();
      throw error;
    }
  }

  /** Takes the place of a lock file without a holder. */
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
      // Only now, because the inode could be used again for the new file.
      file.close();
    }
  }

  /** Records the socket of the holder, and whether it is published by renaming it. */
  mark(how: Bound, socket: Deno.FileInfo): void {
    const view = mayBeShared(socket) ? { view: viewOf(socket) } : {};
    const published = how === "bound" ? {} : { published: socket.ino ?? 0 };
    const record = { ...published, byClaim: how === "published by claim", ...view };
    if ("published" in record || "view" in record) writeRecord(this.#file, record);
  }

  /** Renames the lock file over the one at `path`. Returns the lock there, which replaces this. */
  moveTo(path: string): PathLock {
    Deno.renameSync(this.path, path);
    this.#held = false;
    return new PathLock(path, this.#file, this.#info);
  }

  /** Reports whether the name leads to the locked file. */
  hasName(): boolean {
    return isSameFile(lstat(this.path), this.#info);
  }

  /** Reports whether it is held, and the name leads to the locked file, or to none. */
  isInPlace(): boolean {
    if (!this.#held) return false;
    const info = lstat(this.path);
    return info === null || isSameFile(info, this.#info);
  }

  /** Removes the lock file, if it is still this one, and unlocks it. Idempotent. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    try {
      removeIfSame(this.path, this.#info);
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

/** Describes an open file after the first call has failed; `null` if it fails again. */
function statAgain(file: Deno.FsFile): Deno.FileInfo | null {
  try {
    return statOpen(file) ?? null;
  } catch {
    return null;
  }
}

/**
 * Describes a lock file of ours if Deno does not permit `fstat`: what is written to the descriptor
 * must be found at the path. Returns `null` if the path leads to another file.
 */
function infoByContent(file: Deno.FsFile, path: string): Deno.FileInfo | null {
  const mark = crypto.getRandomValues(new Uint32Array(1))[0]!.toString(36).padStart(7, "0");
  writeRecord(file, { view: mark });
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
