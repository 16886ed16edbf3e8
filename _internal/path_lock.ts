/**
 * The lock file beside a socket: whoever holds the `flock` on `<path>.lock` owns `<path>`.
 *
 * - The lock is the descriptor's, not the file's: when its process ends, however it ends, it is free.
 * - A lock file may be removed by its holder, because everyone checks, after locking, that the path
 *   still names the file that was locked. Without that check a removed file would mean two locks.
 * - It is opened without `O_NOFOLLOW`, which Deno does not offer: it is looked at first, never created
 *   through a symbolic link, and compared after opening. A file that is no lock is left as it is.
 * - Each step is a few microseconds of file system work. It is done synchronously, so that nothing
 *   else of this process comes between two steps.
 */

import { InsecurePath } from "../errors.ts";
import { delay } from "./delay.ts";
import { isSameFile, kindOf, lstat, removeIfSame } from "./file_identity.ts";
import {
  type Attempt,
  BUSY_MS,
  type LockHolder,
  type LockPatience,
  type Obstacle,
  RETRY_MS,
} from "./lock_patience.ts";
import { attempt, codeOf, failureToOwn } from "./system_error.ts";

/**
 * What a lock file holds: the pid of its holder, or nothing yet; in a second line the inode of the
 * socket that the holder has published by renaming it, which a successor may replace.
 */
const CONTENT = /^(\d{0,10})\n?(?:published (\d{1,20})\n?)?$/;

/** Longer than any content. */
const MAX_CONTENT = 64;

/** A lock that this process holds. */
export class PathLock implements Disposable {
  /** The user who owns the lock file. */
  readonly uid: number | null;
  #path: string;
  readonly #file: Deno.FsFile;
  readonly #info: Deno.FileInfo;
  /** What was in the file before. */
  readonly #before: string;
  #held = true;
  #isOurs = true;

  private constructor(path: string, file: Deno.FsFile, info: Deno.FileInfo, before: string) {
    this.#path = path;
    this.uid = info.uid;
    this.#file = file;
    this.#info = info;
    this.#before = before;
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
      const result = PathLock.try(path, wanted);
      if (result instanceof PathLock) return result;
      await patience.wait(result, signal);
    }
  }

  /** Takes a lock now, or tells what stands in the way. */
  static try(path: string, wanted: Attempt): PathLock | Obstacle {
    try {
      return PathLock.#try(path);
    } catch (error) {
      throw failureToOwn(wanted, error);
    }
  }

  static #try(path: string): PathLock | Obstacle {
    const before = lstat(path);
    if (before !== null && !before.isFile) return refusal(path, kindOf(before));
    let file;
    try {
      file = Deno.openSync(path, {
        read: true,
        write: true,
        createNew: before === null,
        mode: 0o600,
      });
    } catch (error) {
      // Somebody else created or removed it since: look again.
      if (error instanceof Deno.errors.AlreadyExists) return { holder: undefined };
      if (error instanceof Deno.errors.NotFound && before !== null) return { holder: undefined };
      if (error instanceof Deno.errors.PermissionDenied && before !== null) {
        return {
          error: new InsecurePath(
            `${attempt("lock", path)}: it belongs to uid ${before.uid}, and the file system ` +
              `does not let this process open it. Choose a directory of your own`,
            { operation: "lock", path, cause: error },
          ),
        };
      }
      throw error;
    }
    try {
      const info = file.statSync();
      if (before !== null && !isSameFile(before, info)) return close(file, { holder: undefined });
      if (!file.tryLockSync(true)) return close(file, { ...readHolder(file), info });
      if (!isSameFile(lstat(path), info)) return close(file, { holder: undefined });
      if (info.nlink !== 1) return close(file, refusal(path, "a file with hard links"));
      const content = readContent(file);
      if (!CONTENT.test(content)) return close(file, refusal(path, "a file with other content"));
      rewrite(file, `${Deno.pid}\n`);
      return new PathLock(path, file, info, content);
    } catch (error) {
      // No space left, say: what was made just now is of no use to anybody.
      if (before === null) removeIfSame(path, file.statSync());
      file.close();
      throw error;
    }
  }

  /** Leaves the file as it was found, and to its owner: it turned out to be somebody else's. */
  disown(): void {
    this.#isOurs = false;
    rewrite(this.#file, this.#before);
  }

  /** Writes down which socket the holder has published by renaming it. */
  mark(inode: number | null): void {
    rewrite(this.#file, `${Deno.pid}\npublished ${inode ?? 0}\n`);
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
      if (this.#isOurs) removeIfSame(this.#path, this.#info);
    } finally {
      // Explicitly: a child between fork and exec may share the open file for a moment.
      this.#file.unlockSync();
      this.#file.close();
    }
  }

  [Symbol.dispose](): void {
    this.release();
  }
}

/** What a look at a lock file tells. */
export interface LockState {
  held: boolean;
  holder?: number;
  /** There is a lock file that this process may not open: whether it is held cannot be told. */
  hidden?: boolean;
}

/** Tells whether a lock is held, by a shared lock that is given back at once. */
export async function peekLock(socketPath: string): Promise<LockState> {
  const path = `${socketPath}.lock`;
  const start = performance.now();
  for (;;) {
    if (!lstat(path)?.isFile) return { held: false };
    let holder;
    try {
      using file = Deno.openSync(path);
      if (file.tryLockSync(false)) {
        file.unlockSync();
        return { held: false };
      }
      ({ holder } = readHolder(file));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return { held: false };
      if (error instanceof Deno.errors.PermissionDenied) return { held: false, hidden: true };
      throw error;
    }
    // An empty file: its holder is about to write its pid.
    if (holder !== undefined) return { held: true, holder };
    if (performance.now() - start >= BUSY_MS) return { held: true };
    await delay(RETRY_MS);
  }
}

function close(file: Deno.FsFile, result: Obstacle): Obstacle {
  file.close();
  return result;
}

function refusal(path: string, found: string): Obstacle {
  return {
    error: new InsecurePath(
      `${attempt("lock", path)}: the lock of a socket belongs there, and it is ${found}. ` +
        `It was left untouched: remove it, or choose another path for the socket`,
      { operation: "lock", path },
    ),
  };
}

/** What a lock file says of its holder; nothing where it is empty or something else. */
function readHolder(file: Deno.FsFile): LockHolder {
  const [, digits, published] = CONTENT.exec(readContent(file)) ?? [];
  return {
    holder: digits ? Number(digits) : undefined,
    ...(published !== undefined && { published: Number(published) }),
  };
}

/** The beginning of a file: more is something else. */
function readContent(file: Deno.FsFile): string {
  const buffer = new Uint8Array(MAX_CONTENT);
  file.seekSync(0, Deno.SeekMode.Start);
  const count = file.readSync(buffer) ?? 0;
  return new TextDecoder().decode(buffer.subarray(0, count));
}

function rewrite(file: Deno.FsFile, content: string): void {
  file.truncateSync();
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(content));
}
