/**
 * Owning a socket path, step by step: lock, reclaim, bind, secure, leave. `claim()` and `listen()` are
 * thin layers over it.
 *
 * - The bind is the only moment at which a file appears. Where this process may set its umask, the
 *   file is born with no more bits than asked for; elsewhere strangers may be able to connect for an
 *   instant, and the caller of {@linkcode PathClaim.bind} must turn them away.
 * - Deno's `close()` unlinks the path that it bound, whoever's file is there by then:
 *   {@linkcode PathClaim.shelter} keeps a stranger's file out of its way.
 */

import { dirname } from "@std/path/posix";
import { ConnectDenied, InsecurePath, NotASocket, SocketInUse } from "../errors.ts";
import { delay } from "./delay.ts";
import { isSameFile, kindOf, lstat, octal, ownership, removeIfSame } from "./file_identity.ts";
import { isGranted } from "./grants.ts";
import { knock } from "./knock.ts";
import { PathLock } from "./path_lock.ts";
import { attempt, codeOf, isSystemFailure, stateOf, systemError } from "./system_error.ts";

/** What may be asked of a claimed path, checked, with its defaults filled in. */
export interface PathClaimOptions {
  mode: number;
  uid: number | undefined;
  gid: number | undefined;
  existing: "reclaim" | "fail";
  createDirectory: boolean;
  verifyDirectory: boolean;
  publish: "direct" | "rename";
}

/** A socket between its bind and its listen refuses like a dead one: ask again after so long. */
const STALE_MS = 100;

const GROUP_AND_OTHERS_WRITE = 0o022;

/** A socket path that this process holds the lock of. */
export class PathClaim {
  /** The path that clients use. */
  readonly path: string;
  /** The path to bind: the same, or with `publish: "rename"` the one that is renamed over it. */
  readonly bindPath: string;
  readonly #options: PathClaimOptions;
  readonly #operation: string;
  readonly #lock: PathLock;
  #own: Deno.FileInfo | null = null;
  /** The directory that was found to be safe. */
  #directory: Deno.FileInfo | undefined;
  #released = false;

  private constructor(path: string, options: PathClaimOptions, operation: string, lock: PathLock) {
    this.path = path;
    this.bindPath = options.publish === "rename" ? `${path}.new` : path;
    this.#options = options;
    this.#operation = operation;
    this.#lock = lock;
  }

  /** Takes the lock and clears the path of a dead socket. */
  static async acquire(
    path: string,
    options: PathClaimOptions,
    operation: string,
    signal?: AbortSignal,
  ): Promise<PathClaim> {
    if (options.createDirectory) createDirectory(path, operation);
    const lock = await PathLock.acquire(path, operation, signal);
    try {
      const claim = new PathClaim(path, options, operation, lock);
      if (options.verifyDirectory) claim.#verifyDirectory();
      await claim.#clear(path, signal);
      // Under the lock nobody but us uses the other name: a socket there is a dead owner's.
      if (claim.bindPath !== path) await claim.#clear(claim.bindPath, signal);
      return claim;
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  /**
   * Binds synchronously by `open`, gives the file its owner and its mode, and publishes it. Where the
   * file was more open to writers than asked for, `turnAway` is called before that: whatever has
   * connected by then may be a stranger. If anything fails, what `open` returned is disposed of.
   */
  async bind<T extends Disposable | AsyncDisposable>(
    open: () => T,
    turnAway: (value: T) => Promise<void>,
  ): Promise<T> {
    if (this.#released) {
      const cause = new Deno.errors.BadResource("the claim has been released");
      const fields = { operation: this.#operation, path: this.path };
      throw systemError(attempt(this.#operation, this.path), cause, fields);
    }
    const { mode, uid, gid } = this.#options;
    const changesOwner = uid !== undefined || gid !== undefined;
    // Until the owner is changed the bits would let in those whom they are not meant for.
    const restoreUmask = narrowUmask(changesOwner ? 0o077 : ~mode & 0o077);
    let value: T;
    try {
      value = open();
    } catch (error) {
      restoreUmask();
      if (codeOf(error) !== "EADDRINUSE") await this.#removeHalfMade();
      throw this.#failure(error);
    }
    restoreUmask();
    try {
      const born = this.#bornFile();
      if (this.#options.verifyDirectory) this.#verifyDirectory();
      const meant = changesOwner ? mode & ~0o020 : mode;
      const exposed = ((born.mode ?? 0) & GROUP_AND_OTHERS_WRITE & ~meant) !== 0;
      // In this order: chmod first would let the old group in.
      if (changesOwner) this.#changeOwner(uid, gid);
      Deno.chmodSync(this.bindPath, mode);
      this.#own = Deno.lstatSync(this.bindPath);
      if (!isSameFile(born, this.#own)) {
        throw new InsecurePath(
          `${attempt(this.#operation, this.path)}: somebody replaced it while it was bound. ` +
            `Choose a directory that only you can write to`,
          { operation: this.#operation, path: this.path },
        );
      }
      if (exposed) await turnAway(value);
      if (this.bindPath !== this.path) Deno.renameSync(this.bindPath, this.path);
      return value;
    } catch (error) {
      await dispose(value);
      this.removeName();
      throw this.#failure(error);
    }
  }

  /** Whether the name still leads to our socket. */
  hasName(): boolean {
    return isSameFile(lstat(this.path), this.#own);
  }

  /** Gives up the name: removes the socket file, if it is still ours. */
  removeName(): void {
    for (const path of new Set([this.path, this.bindPath])) removeIfSame(path, this.#own);
  }

  /**
   * Runs `close`, which will unlink the bound path blindly, and keeps a stranger's file out of its
   * way. There is a name for that which needs no permission of its own: the lock's, because the lock
   * is held by its descriptor. Whoever wants the lock meanwhile finds no regular file and tries again; a
   * stranger's regular file is locked meanwhile, lest it be taken for the lock.
   */
  async shelter(close: () => Promise<void>): Promise<void> {
    const foreign = lstat(this.bindPath);
    const isForeign = foreign !== null && !foreign.isDirectory && !isSameFile(foreign, this.#own);
    const aside = isForeign ? this.#aside() : undefined;
    if (aside === undefined) return await close();
    using _guard = foreign?.isFile ? lockForeign(this.bindPath) : undefined;
    let moved = false;
    try {
      Deno.renameSync(this.bindPath, aside);
      moved = true;
    } finally {
      try {
        await close();
      } finally {
        if (moved && lstat(this.bindPath) === null) Deno.renameSync(aside, this.bindPath);
        // A second stranger took the place of the first one, as it would have anyway.
        else if (moved) Deno.removeSync(aside);
      }
    }
  }

  /**
   * A name to move a stranger's file to. If the lock file is not ours any more, somebody removed it and
   * the socket and both names are a successor's: then another name, where this process may use one.
   */
  #aside(): string | undefined {
    if (this.#lock.isInPlace()) return this.#lock.path;
    const other = `${this.bindPath}.${Deno.pid}`;
    return isGranted("read", other) && isGranted("write", other) ? other : undefined;
  }

  /** Gives up the name and then the lock. Idempotent. */
  release(): void {
    this.#released = true;
    try {
      this.removeName();
    } finally {
      this.#lock.release();
    }
  }

  /** What could not be done at the end, in the shape of our errors. */
  failureToLeave(error: unknown): unknown {
    const fields = { operation: this.#operation, path: this.path };
    const start = `Cannot remove ${JSON.stringify(this.path)} and its lock`;
    return isSystemFailure(error) ? systemError(start, error, fields) : error;
  }

  /** Removes what a bind has left that failed after it made the file: nobody listens there. */
  async #removeHalfMade(): Promise<void> {
    const info = lstat(this.bindPath);
    if (!info?.isSocket || info.uid !== this.#lock.uid) return;
    if ((await knock(this.bindPath)).answer === "refused") removeIfSame(this.bindPath, info);
  }

  #changeOwner(uid: number | undefined, gid: number | undefined): void {
    try {
      Deno.chownSync(this.bindPath, uid ?? null, gid ?? null);
    } catch (error) {
      const to = [uid !== undefined && `user ${uid}`, gid !== undefined && `group ${gid}`];
      throw systemError(
        attempt(this.#operation, this.path),
        error,
        { operation: this.#operation, path: this.path },
        `it could not be given to ${to.filter(Boolean).join(" and ")}: ${
          stateOf(error)
        }. Only root ` +
          `gives files to other users, and others only to groups of their own`,
      );
    }
  }

  /** The file that `open` made; who made it must be who made the lock. */
  #bornFile(): Deno.FileInfo {
    const born = lstat(this.bindPath);
    if (!born?.isSocket) {
      const found = born === null ? "nothing" : kindOf(born);
      throw new TypeError(
        `${attempt(this.#operation, this.path)}: there is ${found} after the bind. ` +
          `Bind exactly this path, synchronously`,
      );
    }
    if (born.uid !== this.#lock.uid) {
      this.#lock.disown();
      throw new InsecurePath(
        `${
          attempt("lock", this.#lock.path)
        }: it belongs to uid ${this.#lock.uid} and this process is ` +
          `uid ${born.uid}, so its owner could lock you out or let others in. Remove it, or choose a ` +
          `directory of your own`,
        { operation: this.#operation, path: this.#lock.path },
      );
    }
    return born;
  }

  /** Removes a socket that nobody listens on; refuses everything else. */
  async #clear(path: string, signal?: AbortSignal): Promise<void> {
    const operation = this.#operation;
    const start = attempt(operation, path);
    const fields = { operation, path };
    try {
      const info = lstat(path);
      if (info === null) return;
      if (!info.isSocket) {
        throw new NotASocket(
          `${start}: it is ${kindOf(info)}, which was left untouched. Choose another path`,
          fields,
        );
      }
      if (this.#options.existing === "fail") {
        throw new SocketInUse(
          `${start}: a socket is there already, and existing: "fail" removes none`,
          fields,
        );
      }
      for (const pause of [STALE_MS, 0]) {
        const { answer, cause } = await knock(path);
        if (answer === "absent") return;
        if (answer === "denied") {
          throw new ConnectDenied(
            `${start}: a socket of uid ${info.uid} with mode ${octal(info.mode ?? 0)} is there, ` +
              `and whether it is alive cannot be told without permission to connect`,
            { ...fields, cause, ...ownership(info) },
          );
        }
        if (answer === "mistyped") {
          throw new NotASocket(
            `${start}: it is a datagram or sequenced-packet socket, which was left untouched`,
            { ...fields, cause },
          );
        }
        if (answer !== "refused") {
          const how = answer === "full" ? ", and its backlog is full" : "";
          throw new SocketInUse(
            `${start}: a program that does not use its lock listens there${how}. ` +
              `Stop that one first, or choose another path`,
            { ...fields, cause },
          );
        }
        await delay(pause, signal);
        const later = lstat(path);
        if (later === null) return;
        if (!isSameFile(info, later) || info.ctime?.getTime() !== later.ctime?.getTime()) {
          throw new SocketInUse(
            `${start}: somebody else is binding it just now. Try again, or choose another path`,
            fields,
          );
        }
      }
      removeDead(path, info, operation);
    } catch (error) {
      throw this.#failure(error);
    }
  }

  #verifyDirectory(): void {
    const directory = dirname(this.path);
    const info = Deno.lstatSync(directory);
    const mode = info.mode ?? 0;
    let reason;
    if (!info.isDirectory) reason = `it is ${kindOf(info)}`;
    else if (info.uid !== 0 && info.uid !== this.#lock.uid) {
      reason = `it belongs to uid ${info.uid}`;
    } else if ((mode & GROUP_AND_OTHERS_WRITE) !== 0 && (mode & 0o1000) === 0) {
      reason = `others may write to it (mode ${octal(mode)}, no sticky bit)`;
    } else if (this.#directory !== undefined && !isSameDirectory(this.#directory, info)) {
      // Whoever may write to a directory above it may swap it for another one of ours.
      reason = "it was replaced while the socket was bound";
    }
    this.#directory = info;
    if (reason !== undefined) {
      throw new InsecurePath(
        `${attempt(this.#operation, this.path)}: its directory "${directory}" is not safe: ` +
          `${reason}. Choose a directory that only you can write to`,
        { operation: this.#operation, path: directory },
      );
    }
  }

  /** An error of ours as it is; one of the system in our shape. */
  #failure(error: unknown): unknown {
    if (!isSystemFailure(error) || (error as { operation?: string }).operation) return error;
    const fields = { operation: this.#operation, path: this.path };
    if (codeOf(error) === "EADDRINUSE") {
      return new SocketInUse(
        `${attempt(this.#operation, this.path)}: somebody else bound it just now. ` +
          `Stop that one first, or choose another path`,
        { ...fields, cause: error },
      );
    }
    return systemError(attempt(this.#operation, this.path), error, fields);
  }
}

/** Not by its times: binding a socket in it changes some. */
function isSameDirectory(a: Deno.FileInfo, b: Deno.FileInfo): boolean {
  return a.dev === b.dev && a.ino === b.ino;
}

function removeDead(path: string, info: Deno.FileInfo, operation: string): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    throw systemError(
      attempt(operation, path),
      error,
      { operation, path },
      `a dead socket of uid ${info.uid} is there, and it could not be removed (${stateOf(error)})`,
    );
  }
}

function createDirectory(path: string, operation: string): void {
  try {
    Deno.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  } catch (error) {
    throw systemError(`Cannot create the directory of "${path}"`, error, { operation, path });
  }
}

/**
 * Takes bits away from what is created next, where this process may; gives back the way to restore
 * it. The umask belongs to the whole process, and Deno creates files on other threads too: therefore
 * only for a synchronous call, and never the owner's bits, without which a directory made by another
 * thread in that instant could not be entered.
 */
function narrowUmask(mask: number): () => void {
  if (!isGranted("sys", "umask")) return () => {};
  const before = Deno.umask();
  Deno.umask(before | mask);
  return () => void Deno.umask(before);
}

/** Locks a file that is not ours; where that is denied, so it is to those who would take it for a lock. */
function lockForeign(path: string): Deno.FsFile | undefined {
  try {
    const file = Deno.openSync(path);
    file.tryLockSync(true);
    return file;
  } catch {
    return undefined;
  }
}

async function dispose(value: Disposable | AsyncDisposable): Promise<void> {
  try {
    // An `open` that is asynchronous, and wrong, may have bound something by then.
    const opened = await value;
    if (Symbol.asyncDispose in opened) await opened[Symbol.asyncDispose]();
    else opened[Symbol.dispose]();
  } catch {
    // What is told is why it had to be disposed of.
  }
}
