/**
 * Owning a socket path, step by step: lock, reclaim, bind, secure, publish, leave. `claim()` and
 * `listen()` are thin layers over it.
 *
 * - The bind is the only moment at which a file appears. Where this process may set its umask, the
 *   file is born with no more bits than asked for; elsewhere strangers may be able to connect for an
 *   instant, and the caller of {@linkcode PathClaim.bind} must turn them away.
 * - With `publish: "rename"` there is a second lock, `<path>.lock.new`: the turn. Whoever binds
 *   `<path>.new`, renames it, removes a name or closes a listener that was bound there holds it. Both
 *   locks are needed for all that, but for one thing: a successor that may replace a server has the turn
 *   alone, and makes its lock file the lock of the path by renaming it, after the socket.
 * - A successor that ends between the two has left a dead socket, and the server that it was to replace
 *   still has the lock: it binds the path again.
 */

import { dirname } from "@std/path/posix";
import { ConnectDenied, InsecurePath, NotASocket, SocketInUse } from "../errors.ts";
import { isSameFile, kindOf, lstat, octal, removeIfSame } from "./file_identity.ts";
import { sheltered } from "./file_shelter.ts";
import { isGranted } from "./grants.ts";
import { knock } from "./knock.ts";
import { type Attempt, LockPatience } from "./lock_patience.ts";
import { type LockHolder, PathLock } from "./path_lock.ts";
import { removeDead, requireVacant } from "./path_occupant.ts";
import { attempt, codeOf, isSystemFailure, stateOf, systemError } from "./system_error.ts";

/** What may be asked of a claimed path, checked, with its defaults filled in. */
export interface PathClaimOptions {
  mode: number;
  uid: number | undefined;
  gid: number | undefined;
  existing: "reclaim" | "fail" | "replace";
  createDirectory: boolean;
  verifyDirectory: boolean;
  publish: "direct" | "rename";
  selfHeal: boolean;
}

/**
 * What became of a path.
 *
 * - `"ours"`: the name leads to our socket.
 * - `"lost"`: it does not.
 * - `"replaced"`: it leads to another socket, and somebody else holds the lock.
 */
export type PathState = "ours" | "lost" | "replaced";

/** So long others may take to bind and publish, or to close. */
const TURN_MS = 5000;

/** What there is to take where nothing is published by rename. */
const NO_TURN: Disposable = { [Symbol.dispose]() {} };

const GROUP_AND_OTHERS_WRITE = 0o022;

/** A socket path that this process owns, or is about to take over. */
export class PathClaim {
  /** The path that clients use. */
  readonly path: string;
  /** The path to bind: the same, or with `publish: "rename"` the one that is renamed over it. */
  readonly bindPath: string;
  readonly #options: PathClaimOptions;
  readonly #wanted: Attempt;
  /** Nothing only until a server that holds it has been replaced. */
  #lock: PathLock | undefined;
  /** The turn in which this server starts. */
  #turn: PathLock | undefined;
  /** The server that is to be replaced. */
  #rival: LockHolder | undefined;
  /** What was at the path when nobody was found there who could be displaced. */
  #vacant: Deno.FileInfo | null = null;
  #own: Deno.FileInfo | null = null;
  #released = false;

  private constructor(path: string, options: PathClaimOptions, operation: string) {
    this.path = path;
    this.bindPath = options.publish === "rename" ? `${path}.new` : path;
    this.#options = options;
    this.#wanted = { operation, path };
  }

  /** Takes the lock, or finds who may be replaced, and clears the path of a dead socket. */
  static async acquire(
    path: string,
    options: PathClaimOptions,
    operation: string,
    signal?: AbortSignal,
  ): Promise<PathClaim> {
    if (options.createDirectory) createDirectory(path, operation);
    const claim = new PathClaim(path, options, operation);
    try {
      await claim.#takeLock(signal);
      if (options.verifyDirectory) claim.#verifyDirectory();
      await claim.#clear(signal);
      return claim;
    } catch (error) {
      claim.#unlock();
      throw error === signal?.reason ? error : claim.#failure(error);
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
      throw systemError(this.#attempt(), cause, this.#wanted);
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
    const before = this.#own;
    try {
      const born = this.#bornFile();
      const meant = changesOwner ? mode & ~0o020 : mode;
      const exposed = ((born.mode ?? 0) & GROUP_AND_OTHERS_WRITE & ~meant) !== 0;
      // In this order: chmod first would let the old group in.
      if (changesOwner) this.#changeOwner(uid, gid);
      Deno.chmodSync(this.bindPath, mode);
      this.#own = Deno.lstatSync(this.bindPath);
      if (!isSameFile(born, this.#own)) throw this.#replacedWhileBound();
      if (exposed) await turnAway(value);
      if (this.bindPath !== this.path) this.#publish();
      return value;
    } catch (error) {
      await dispose(value);
      this.removeName();
      this.#own = before;
      throw this.#failure(error);
    } finally {
      this.#endStart();
    }
  }

  /** Whether the name still leads to our socket. */
  hasName(): boolean {
    return isSameFile(lstat(this.path), this.#own);
  }

  /**
   * What became of the path. A lock file that somebody removed is made again, unless somebody else has
   * the lock by now, or it would only keep others from a path that is lost.
   */
  look(): PathState {
    const there = lstat(this.path);
    const isOurs = isSameFile(there, this.#own);
    if (this.#lock?.hasName()) return isOurs ? "ours" : "lost";
    const isTaken = (isOurs || this.#mayHeal(there)) && this.#lockAgain();
    if (isOurs) return "ours";
    return isTaken && there?.isSocket ? "replaced" : "lost";
  }

  /**
   * Tells whether the path, which is lost, can be bound again: nobody is there who could be displaced.
   * `undefined` where it is not lost after all. It takes the turn.
   */
  async canRebind(signal: AbortSignal): Promise<boolean | undefined> {
    if (this.look() !== "lost") return undefined;
    if (!this.#mayHeal(lstat(this.path)) || !this.#lock?.hasName()) return false;
    try {
      this.#vacant = await requireVacant(this.#wanted, "reclaim", signal);
      await this.#vacate(this.bindPath, signal);
      return true;
    } catch (error) {
      if (isRefusal(error)) return false;
      throw error;
    }
  }

  /** Waits for the turn; without `publish: "rename"` there is none. Dispose of it to give it back. */
  async takeTurn(signal?: AbortSignal): Promise<Disposable> {
    return this.bindPath === this.path ? NO_TURN : await this.#takeTurn(signal);
  }

  /**
   * The turn to give up a name or a listener, at once where it is free. Who keeps it for too long, or
   * keeps us from taking it, does not keep us from leaving.
   */
  turnToLeave(signal?: AbortSignal): Disposable | Promise<Disposable> {
    if (this.bindPath === this.path) return NO_TURN;
    try {
      const result = PathLock.try(this.#turnPath, this.#wanted);
      return result instanceof PathLock ? result : this.takeTurn(signal).catch(() => NO_TURN);
    } catch {
      return NO_TURN;
    }
  }

  /** Gives up the name: removes the socket file, if it is still ours. It takes the turn. */
  removeName(): void {
    for (const path of new Set([this.path, this.bindPath])) removeIfSame(path, this.#own);
  }

  /**
   * Runs `close`, which will unlink the bound path blindly, and keeps a stranger's file out of its
   * way. There is a name for that which needs no permission of its own: that of a lock which is held,
   * because it is held by its descriptor. Whoever wants the lock meanwhile finds no regular file and
   * tries again; a stranger's regular file is locked meanwhile, lest it be taken for the lock.
   *
   * @param turn The turn, where there is one.
   */
  async shelter(close: () => Promise<void>, turn?: Disposable): Promise<void> {
    const foreign = lstat(this.bindPath);
    const isForeign = foreign !== null && !foreign.isDirectory && !isSameFile(foreign, this.#own);
    const aside = isForeign ? this.#aside(turn) : undefined;
    if (aside === undefined) return await close();
    await sheltered(this.bindPath, aside, close);
  }

  /**
   * A name to move a stranger's file to. If the lock file is not ours any more, somebody removed it and
   * the socket and both names are a successor's: then another name, where this process may use one.
   */
  #aside(turn: Disposable | undefined): string | undefined {
    const lock = this.bindPath === this.path ? this.#lock : turn;
    if (lock instanceof PathLock && lock.isInPlace()) return lock.path;
    const other = `${this.bindPath}.${Deno.pid}`;
    return isGranted("read", other) && isGranted("write", other) ? other : undefined;
  }

  /** Gives up the name and then the lock. It takes the turn. Idempotent. */
  release(): void {
    this.#released = true;
    try {
      this.removeName();
    } finally {
      this.#unlock();
    }
  }

  /** What could not be done at the end, in the shape of our errors. */
  failureToLeave(error: unknown): unknown {
    const start = `Cannot remove ${JSON.stringify(this.path)} and its lock`;
    return isSystemFailure(error) ? systemError(start, error, this.#wanted) : error;
  }

  get #turnPath(): string {
    return `${this.path}.lock.new`;
  }

  get #lockPath(): string {
    return `${this.path}.lock`;
  }

  #attempt(): string {
    return attempt(this.#wanted.operation, this.path);
  }

  /** Takes the lock; with `publish: "rename"` the turn as well, and with `"replace"` only that where it must. */
  async #takeLock(signal: AbortSignal | undefined): Promise<void> {
    const replaces = this.#options.existing === "replace";
    const patience = new LockPatience(
      this.#wanted,
      (holder) =>
        `${this.#attempt()}: it is in use by ${holder}, which holds its lock. ` +
        (replaces
          ? `It cannot be replaced, because it was not published by rename: stop`
          : `Stop`) +
        ` that one first, or choose another path`,
    );
    if (this.bindPath === this.path) {
      this.#lock = await PathLock.acquire(this.#lockPath, this.#wanted, patience, signal);
      return;
    }
    for (;;) {
      this.#turn = await this.#takeTurn(signal);
      const result = PathLock.try(this.#lockPath, this.#wanted);
      if (result instanceof PathLock) {
        this.#lock = result;
        return;
      }
      if (replaces && "published" in result) {
        this.#rival = result;
        return;
      }
      // Whoever holds the lock may need the turn to give it back.
      this.#endStart();
      await patience.wait(result, signal);
    }
  }

  async #takeTurn(signal: AbortSignal | undefined): Promise<PathLock> {
    const path = this.#turnPath;
    const patience = new LockPatience(
      this.#wanted,
      (holder) =>
        `${this.#attempt()}: ${holder} is starting or ending there, and does not come to an end: it ` +
        `holds ${JSON.stringify(path)}. Stop that one first, or choose another path`,
      TURN_MS,
    );
    return await PathLock.acquire(path, this.#wanted, patience, signal);
  }

  /** Makes sure that nobody is at the path but who may be replaced. */
  async #clear(signal: AbortSignal | undefined): Promise<void> {
    const there = lstat(this.path);
    if (this.#rival === undefined) await this.#vacate(this.path, signal);
    // Its inode cannot be another file's as long as it listens.
    else if (there?.isSocket && there.ino === this.#rival.published) this.#vacant = there;
    else this.#vacant = await requireVacant(this.#wanted, "reclaim", signal);
    // In our turn nobody but us uses the other name: a socket there is a dead owner's.
    if (this.bindPath !== this.path) await this.#vacate(this.bindPath, signal);
  }

  /** Removes a socket that nobody listens on; refuses everything else. */
  async #vacate(path: string, signal: AbortSignal | undefined): Promise<void> {
    const existing = this.#options.existing === "fail" ? "fail" : "reclaim";
    const wanted = { ...this.#wanted, path };
    const dead = await requireVacant(wanted, existing, signal);
    if (dead !== null) removeDead(wanted, dead);
  }

  /**
   * Puts the socket in its place; synchronously, so that what was looked at is as it was. Two things can
   * still happen between two calls, which no call of Deno's prevents: a stranger's file that comes
   * after the look is displaced, and if the one who is replaced dies after it, somebody else may have
   * taken its lock.
   */
  #publish(): void {
    const own = this.#own as Deno.FileInfo;
    const there = lstat(this.path);
    if (there !== null && !isSameFile(there, this.#vacant)) throw this.#takenMeanwhile();
    if (!isSameFile(lstat(this.bindPath), own)) throw this.#replacedWhileBound();
    if (this.#rival !== undefined) {
      const { info, published } = this.#rival;
      const result = PathLock.try(this.#lockPath, this.#wanted);
      if (result instanceof PathLock) this.#lock = result;
      else if (
        "error" in result || result.published !== published ||
        !isSameFile(result.info ?? null, info ?? null)
      ) throw this.#takenMeanwhile();
    }
    this.#rival = undefined;
    if (this.#lock !== undefined) {
      this.#lock.mark(own.ino);
      Deno.renameSync(this.bindPath, this.path);
      return;
    }
    const turn = this.#turn as PathLock;
    turn.mark(own.ino);
    Deno.renameSync(this.bindPath, this.path);
    try {
      turn.moveTo(this.#lockPath);
    } catch (error) {
      // A dead socket stays, which the one who still has the lock replaces.
      this.#own = null;
      throw error;
    }
    this.#lock = turn;
    this.#turn = undefined;
  }

  /** Whether what is at a path that was ours is nothing that this server would leave there. */
  #mayHeal(there: Deno.FileInfo | null): boolean {
    if (this.bindPath === this.path) return false;
    // A dead socket may be that of a successor which did not come to its end.
    return there === null ? this.#options.selfHeal : there.isSocket === true;
  }

  /** Takes the lock again that somebody removed; tells whether somebody else has it. */
  #lockAgain(): boolean {
    let result;
    try {
      result = PathLock.try(this.#lockPath, this.#wanted);
    } catch {
      // The directory is gone, or full.
      return false;
    }
    if (!(result instanceof PathLock)) return !("error" in result);
    if (result.uid !== this.#lock?.uid) {
      result.disown();
      result.release();
      return false;
    }
    this.#lock.release();
    this.#lock = result;
    if (this.bindPath !== this.path) result.mark(this.#own?.ino ?? null);
    return false;
  }

  #endStart(): void {
    try {
      this.#turn?.release();
    } catch {
      // It is free; whoever takes the turn next removes its file.
    }
    this.#turn = undefined;
  }

  #unlock(): void {
    try {
      this.#lock?.release();
    } finally {
      this.#endStart();
    }
  }

  /** Removes what a bind has left that failed after it made the file: nobody listens there. */
  async #removeHalfMade(): Promise<void> {
    const info = lstat(this.bindPath);
    if (!info?.isSocket || info.uid !== (this.#turn ?? this.#lock)?.uid) return;
    if ((await knock(this.bindPath)).answer === "refused") removeIfSame(this.bindPath, info);
  }

  #changeOwner(uid: number | undefined, gid: number | undefined): void {
    try {
      Deno.chownSync(this.bindPath, uid ?? null, gid ?? null);
    } catch (error) {
      const to = [uid !== undefined && `user ${uid}`, gid !== undefined && `group ${gid}`];
      throw systemError(
        this.#attempt(),
        error,
        this.#wanted,
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
        `${this.#attempt()}: there is ${found} after the bind. ` +
          `Bind exactly this path, synchronously`,
      );
    }
    for (const lock of [this.#turn, this.#lock]) {
      if (lock === undefined || lock.uid === born.uid) continue;
      lock.disown();
      throw this.#foreignLock(lock.path, lock.uid, born.uid);
    }
    const rival = this.#rival?.info;
    if (rival !== undefined && rival.uid !== born.uid) {
      throw this.#foreignLock(this.#lockPath, rival.uid, born.uid);
    }
    return born;
  }

  #foreignLock(path: string, owner: number | null, self: number | null): Error {
    return new InsecurePath(
      `${
        attempt("lock", path)
      }: it belongs to uid ${owner} and this process is uid ${self}, so its ` +
        `owner could lock you out or let others in. Remove it, or choose a directory of your own`,
      { operation: this.#wanted.operation, path },
    );
  }

  #replacedWhileBound(): Error {
    return new InsecurePath(
      `${this.#attempt()}: somebody replaced it while it was bound. ` +
        `Choose a directory that only you can write to`,
      this.#wanted,
    );
  }

  #takenMeanwhile(): Error {
    return new SocketInUse(
      `${this.#attempt()}: somebody else took it just now. Try again, or choose another path`,
      this.#wanted,
    );
  }

  #verifyDirectory(): void {
    const directory = dirname(this.path);
    const info = Deno.lstatSync(directory);
    const mode = info.mode ?? 0;
    let reason;
    if (!info.isDirectory) reason = `it is ${kindOf(info)}`;
    else if (info.uid !== 0 && info.uid !== (this.#turn ?? this.#lock)?.uid) {
      reason = `it belongs to uid ${info.uid}`;
    } else if ((mode & GROUP_AND_OTHERS_WRITE) !== 0 && (mode & 0o1000) === 0) {
      reason = `others may write to it (mode ${octal(mode)}, no sticky bit)`;
    }
    if (reason !== undefined) {
      throw new InsecurePath(
        `${this.#attempt()}: its directory "${directory}" is not safe: ` +
          `${reason}. Choose a directory that only you can write to`,
        { operation: this.#wanted.operation, path: directory },
      );
    }
  }

  /** An error of ours as it is; one of the system in our shape. */
  #failure(error: unknown): unknown {
    if (!isSystemFailure(error) || (error as { operation?: string }).operation) return error;
    if (codeOf(error) === "EADDRINUSE") {
      return new SocketInUse(
        `${this.#attempt()}: somebody else bound it just now. ` +
          `Stop that one first, or choose another path`,
        { ...this.#wanted, cause: error },
      );
    }
    return systemError(this.#attempt(), error, this.#wanted);
  }
}

/** Whether an error says who is in the way. */
function isRefusal(error: unknown): boolean {
  return error instanceof SocketInUse || error instanceof NotASocket ||
    error instanceof ConnectDenied;
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
