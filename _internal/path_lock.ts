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

import { InsecurePath, SocketInUse } from "../errors.ts";
import { delay } from "./delay.ts";
import { isSameFile, kindOf, lstat, removeIfSame } from "./file_identity.ts";
import { attempt, codeOf, systemError } from "./system_error.ts";

/** A prober holds a shared lock for an instant; so long the lock is tried before it counts as taken. */
const BUSY_MS = 200;
/** So long an empty or a changing pid is read again before the holder stays unknown. */
const PID_MS = 500;
/** A pid that stayed the same so long is the holder's own, not its predecessor's. */
const PID_SETTLED_MS = 10;
const RETRY_MS = 5;

/** What a lock file holds: the pid of its holder, or nothing yet. */
const CONTENT = /^(\d{0,10})\n?$/;

/** Why the lock could not be taken just now. */
type Obstacle = { holder: number | undefined } | { error: Error };

/** A lock that this process holds. */
export class PathLock {
  readonly path: string;
  /** The user who owns the lock file. */
  readonly uid: number | null;
  readonly #file: Deno.FsFile;
  readonly #info: Deno.FileInfo;
  /** What was in the file before. */
  readonly #before: string;
  #held = true;
  #isOurs = true;

  private constructor(path: string, file: Deno.FsFile, info: Deno.FileInfo, before: string) {
    this.path = path;
    this.uid = info.uid;
    this.#file = file;
    this.#info = info;
    this.#before = before;
  }

  /** Takes the lock of a socket path, or rejects with `SocketInUse` or `InsecurePath`. */
  static async acquire(
    socketPath: string,
    operation: string,
    signal?: AbortSignal,
  ): Promise<PathLock> {
    const start = performance.now();
    let holder: number | undefined;
    let holderSince = start;
    for (;;) {
      let result;
      try {
        result = PathLock.#try(`${socketPath}.lock`);
      } catch (error) {
        const fields = { operation, path: socketPath };
        throw systemError(attempt(operation, socketPath), error, fields);
      }
      if (result instanceof PathLock) return result;
      const now = performance.now();
      if ("error" in result) {
        if (now - start >= BUSY_MS) throw Object.assign(result.error, { operation });
      } else {
        if (result.holder !== holder) [holder, holderSince] = [result.holder, now];
        const settled = holder !== undefined && now - holderSince >= PID_SETTLED_MS;
        if (now - start >= (settled ? BUSY_MS : PID_MS)) {
          const by = holder === undefined ? "a running process" : `process ${holder}`;
          throw new SocketInUse(
            `${attempt(operation, socketPath)}: it is in use by ${by}, which holds its lock. ` +
              `Stop that one first, or choose another path`,
            { operation, path: socketPath, holder },
          );
        }
      }
      await delay(RETRY_MS, signal);
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
      if (!file.tryLockSync(true)) return close(file, { holder: readPid(file) });
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

  /** Whether the name is still that of the file that is locked, or nobody's. */
  isInPlace(): boolean {
    const info = lstat(this.path);
    return info === null || isSameFile(info, this.#info);
  }

  /** Removes the lock file, if it is still this one, and unlocks it. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    try {
      if (this.#isOurs) removeIfSame(this.path, this.#info);
    } finally {
      // Explicitly: a child between fork and exec may share the open file for a moment.
      this.#file.unlockSync();
      this.#file.close();
    }
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
      holder = readPid(file);
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

/** The pid in a lock file, `undefined` where there is none or the file is something else. */
function readPid(file: Deno.FsFile): number | undefined {
  const digits = CONTENT.exec(readContent(file))?.[1];
  return digits ? Number(digits) : undefined;
}

/** The beginning of a file: more than a pid is something else. */
function readContent(file: Deno.FsFile): string {
  const buffer = new Uint8Array(16);
  file.seekSync(0, Deno.SeekMode.Start);
  const count = file.readSync(buffer) ?? 0;
  return new TextDecoder().decode(buffer.subarray(0, count));
}

function rewrite(file: Deno.FsFile, content: string): void {
  file.truncateSync();
  file.seekSync(0, Deno.SeekMode.Start);
  file.writeSync(new TextEncoder().encode(content));
}
