/**
 * Owning a socket path, step by step: lock, reclaim, bind, secure, publish, leave. `claim()` and
 * `listen()` are thin layers over it. Who else may be at it meanwhile is told in `lock/lock_pair.ts`.
 *
 * - The bind is the only moment at which a file appears. Where this process may set its umask, the
 *   file is born with no more bits than asked for; elsewhere strangers may be able to connect for an
 *   instant, and the caller of {@linkcode PathClaim.bind} must turn them away.
 */

import {
  ConnectDenied,
  InsecurePath,
  isSocketError,
  NotASocket,
  SocketInUse,
} from "../../errors.ts";
import { delay } from "../base/event_loop.ts";
import {
  GROUP_AND_OTHERS_WRITE,
  hasTimeOfBirth,
  isSameFile,
  kindOf,
  lstat,
  octal,
  removeIfSame,
} from "../base/file.ts";
import { sheltered } from "./move_aside.ts";
import { isGranted, requireGrants } from "../base/deno_permissions.ts";
import { knock } from "./try_connect.ts";
import { LockAndTurn } from "../lock/lock_pair.ts";
import type { Attempt } from "../lock/lock_wait.ts";
import { removeDead, requireVacant } from "./stale_socket.ts";
import { requireThisSide } from "./other_side.ts";
import { SocketDirectory, type Unsafe } from "./directory.ts";
import {
  attempt,
  codeOf,
  failureToOwn,
  isSystemFailure,
  stateOf,
  systemError,
} from "../base/failure.ts";
import { narrowUmask } from "./umask.ts";

/** After so long files get another time: the kernel counts it in ticks of 1 to 10 ms (CONFIG_HZ). */
const FILE_CLOCK_MS = 20;

/** The permission bits that let connect, on Linux and macOS. */
const WRITE = 0o222;

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

/** A socket path that this process owns, or is about to take over. */
export class PathClaim {
  /** The path that clients use. */
  readonly path: string;
  /** The path to bind: the same, or with `publish: "rename"` the one that is renamed over it. */
  readonly bindPath: string;
  readonly #options: PathClaimOptions;
  readonly #wanted: Attempt;
  readonly #locks: LockAndTurn;
  /** What may be displaced at the path: a dead socket, or that of the server to be replaced. */
  #vacant: Deno.FileInfo | null = null;
  #own: Deno.FileInfo | null = null;
  readonly #directory: SocketDirectory;
  #released = false;

  private constructor(
    wanted: Attempt,
    options: PathClaimOptions,
    directory: SocketDirectory,
    locks: LockAndTurn,
  ) {
    this.path = wanted.path;
    this.bindPath = options.publish === "rename" ? `${wanted.path}.new` : wanted.path;
    this.#options = options;
    this.#wanted = wanted;
    this.#directory = directory;
    this.#locks = locks;
  }

  /** Takes the lock, or finds who may be replaced, and clears the path of a dead socket. */
  static async acquire(
    path: string,
    options: PathClaimOptions,
    operation: string,
    signal?: AbortSignal,
  ): Promise<PathClaim> {
    const wanted = { operation, path };
    const directory = new SocketDirectory(wanted);
    if (options.createDirectory) directory.create();
    const lockOptions = {
      hasTurns: options.publish === "rename",
      replaces: options.existing === "replace",
    };
    await requireThisSide(wanted, lockOptions, signal);
    const locks = await LockAndTurn.acquire(wanted, lockOptions, signal);
    const claim = new PathClaim(wanted, options, directory, locks);
    try {
      if (options.verifyDirectory) directory.verify(locks.uid);
      await claim.#clear(signal);
      return claim;
    } catch (error) {
      const failure = error === signal?.reason ? error : claim.#failure(error);
      await claim.cleanUpAfter(failure, () => locks.abandon());
      throw failure;
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
    const unsafe = this.#directory.unsafe(this.#locks.uid);
    const changesOwner = unsafe === undefined && (uid !== undefined || gid !== undefined);
    // Until chown, the group bits would apply to the wrong group.
    const mask = changesOwner ? 0o077 : ~mode & 0o077;
    const restoreUmask = narrowUmask(mask, unsafe !== undefined);
    let value: T;
    try {
      value = open();
    } catch (error) {
      restoreUmask();
      const failure = this.#failure(error);
      if (codeOf(error) !== "EADDRINUSE") await this.#removeHalfMade(failure);
      throw failure;
    }
    restoreUmask();
    const before = this.#own;
    try {
      const created = this.#createdFile(unsafe);
      if (this.#options.verifyDirectory) this.#directory.verify(this.#locks.uid);
      const meant = changesOwner ? mode & ~0o020 : mode;
      const exposed = ((created.mode ?? 0) & GROUP_AND_OTHERS_WRITE & ~meant) !== 0;
      this.#own = this.#secure(created, unsafe);
      this.#locks.mark("bound", this.#own);
      // It is then known by its time of modification, which no later socket may have as well.
      if (!hasTimeOfBirth(this.#own)) await delay(FILE_CLOCK_MS);
      if (exposed) await turnAway(value);
      if (this.bindPath !== this.path) this.#publish();
      return value;
    } catch (error) {
      const failure = this.#failure(error);
      // Only a file that was seen can be told from a stranger's.
      const close = this.#own === before
        ? () => dispose(value)
        : () => this.shelter(() => dispose(value));
      await this.cleanUpAfter(failure, close);
      await this.cleanUpAfter(failure, () => this.removeName());
      this.#own = before;
      throw failure;
    } finally {
      this.#locks.endStart();
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
    if (this.#locks.hasLock()) return isOurs ? "ours" : "lost";
    const isTaken = (isOurs || this.#mayHeal(there)) &&
      this.#locks.retake(this.#own);
    if (isOurs) return "ours";
    return isTaken && there?.isSocket ? "replaced" : "lost";
  }

  /**
   * Whether the path, which is lost, can be bound again without displacing anybody; `undefined` where it is
   * not lost after all. To be called in our turn.
   */
  async canRebind(signal: AbortSignal): Promise<boolean | undefined> {
    if (this.look() !== "lost") return undefined;
    if (!this.#mayHeal(lstat(this.path)) || !this.#locks.hasLock()) return false;
    try {
      await requireThisSide(this.#wanted, { hasTurns: true, holdsLock: true }, signal);
      this.#vacant = await requireVacant(this.#wanted, "reclaim", signal);
      await this.#vacate(this.bindPath, "reclaim", signal);
      return true;
    } catch (error) {
      if (isRefusal(error)) return false;
      throw error;
    }
  }

  /** Waits for the turn, as {@linkcode LockAndTurn.takeTurn}. */
  takeTurn(signal?: AbortSignal): Promise<Disposable> {
    return this.#locks.takeTurn(signal);
  }

  /** The turn to leave in, as {@linkcode LockAndTurn.turnToLeave}. */
  turnToLeave(signal?: AbortSignal): Disposable | Promise<Disposable> {
    return this.#locks.turnToLeave(signal);
  }

  /** Gives up the name: removes the socket file, if it is still ours. To be called in our turn. */
  removeName(): void {
    for (const path of new Set([this.path, this.bindPath])) removeIfSame(path, this.#own);
  }

  /**
   * Runs `close`, which unlinks the bound path whatever is there, and keeps a stranger's file out of its
   * way. The file is moved to the name of the lock meanwhile, which needs no further permission: the lock
   * is held by its descriptor and can do without its name. Whoever wants the lock in that time finds no
   * regular file and tries again; if the stranger's file is a regular one it is locked, so that nobody
   * takes it for the lock.
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
    const spare = this.#locks.nameToSpare(turn);
    if (spare !== undefined) return spare;
    const other = `${this.bindPath}.${Deno.pid}`;
    return isGranted("read", other) && isGranted("write", other) ? other : undefined;
  }

  /** Gives up the name and then the lock. To be called in our turn. Idempotent. */
  release(): void {
    this.#released = true;
    try {
      this.removeName();
    } finally {
      this.#locks.release();
    }
  }

  /** What could not be done at the end, in the shape of our errors. */
  failureToLeave(error: unknown): unknown {
    const start = `Cannot remove ${JSON.stringify(this.path)} and its lock`;
    return isSystemFailure(error) ? systemError(start, error, this.#wanted) : error;
  }

  /**
   * Cleans up after a failure. What goes wrong with that is attached to the failure as `cleanupError`, and
   * does not hide it.
   *
   * @param failure What is about to be thrown.
   * @param cleanUp Removes what the failure left.
   */
  async cleanUpAfter(failure: unknown, cleanUp: () => void | Promise<void>): Promise<void> {
    try {
      await cleanUp();
    } catch (error) {
      if (!isSocketError(failure) || failure.cleanupError !== undefined) return;
      Object.assign(failure, { cleanupError: this.failureToLeave(error) });
    }
  }

  #attempt(): string {
    return attempt(this.#wanted.operation, this.path);
  }

  /** Makes sure that nobody is at the path but who may be replaced. */
  async #clear(signal: AbortSignal | undefined): Promise<void> {
    const there = lstat(this.path);
    const { rival } = this.#locks;
    if (rival === undefined) await this.#vacate(this.path, this.#options.existing, signal);
    // Its inode cannot be another file's as long as it listens.
    else if (there?.isSocket && there.ino === rival.published) this.#vacant = there;
    else this.#vacant = await requireVacant(this.#wanted, "reclaim", signal);
    // In our turn nobody but us uses the other name: a socket there is a dead owner's.
    if (this.bindPath !== this.path) await this.#vacate(this.bindPath, "reclaim", signal);
  }

  /** Removes a socket that nobody listens on; refuses everything else. */
  async #vacate(
    path: string,
    existing: PathClaimOptions["existing"],
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const wanted = { ...this.#wanted, path };
    const dead = await requireVacant(wanted, existing === "fail" ? "fail" : "reclaim", signal);
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
    if (!this.#locks.confirm()) throw this.#takenMeanwhile();
    this.#locks.mark("published", own);
    try {
      Deno.renameSync(this.bindPath, this.path);
    } catch (error) {
      throw codeOf(error) === "ENOENT" ? this.#replacedWhileBound(error) : error;
    }
    try {
      this.#locks.succeed();
    } catch (error) {
      // A dead socket stays, which the one who still has the lock replaces.
      this.#own = null;
      throw error;
    }
  }

  /** Whether this server binds its path again, given what it has found there instead of its socket. */
  #mayHeal(there: Deno.FileInfo | null): boolean {
    if (this.bindPath === this.path) return false;
    // A dead socket may be that of a successor which did not come to its end.
    return there === null ? this.#options.selfHeal : there.isSocket === true;
  }

  /** Removes what a bind has left that failed after it made the file: nobody listens there. */
  async #removeHalfMade(failure: unknown): Promise<void> {
    await this.cleanUpAfter(failure, async () => {
      const info = lstat(this.bindPath);
      if (!info?.isSocket || info.uid !== this.#locks.uid) return;
      if ((await knock(this.bindPath)).answer === "refused") removeIfSame(this.bindPath, info);
    });
  }

  /**
   * Gives the socket its owner and its mode. Both calls follow a symbolic link, and Deno has none that does
   * not. Where another user could put one there, the socket stays as it was created. That will do if the
   * owner is right, and the bits that decide who may connect: all others have no effect.
   */
  #secure(created: Deno.FileInfo, unsafe: Unsafe | undefined): Deno.FileInfo {
    const { mode, uid = created.uid, gid = created.gid } = this.#options;
    const changesOwner = uid !== created.uid || gid !== created.gid;
    const changesMode = (created.mode ?? 0) & 0o777 ^ mode;
    if (unsafe !== undefined) {
      if (changesOwner) this.#refuseChange(unsafe, "Its owner");
      if ((changesMode & WRITE) !== 0) this.#refuseChange(unsafe, "Its mode");
    }
    try {
      // In this order: chmod first would let the old group in.
      if (changesOwner) this.#changeOwner();
      if (changesMode !== 0 && unsafe === undefined) this.#changeMode();
      const own = Deno.lstatSync(this.bindPath);
      if (isSameFile(created, own)) return own;
    } catch (error) {
      throw codeOf(error) === "ENOENT" ? this.#replacedWhileBound(error) : error;
    }
    throw this.#replacedWhileBound();
  }

  #changeMode(): void {
    const { mode } = this.#options;
    try {
      Deno.chmodSync(this.bindPath, mode);
    } catch (error) {
      const unsupported = ["EPERM", "EINVAL", "ENOTSUP", "ENOSYS"].includes(codeOf(error) ?? "");
      throw systemError(
        this.#attempt(),
        error,
        this.#wanted,
        `its mode could not be set to ${octal(mode)}: ${stateOf(error)}` +
          (unsupported ? ". Choose a directory whose file system keeps the mode of a socket" : ""),
      );
    }
  }

  #changeOwner(): void {
    const { uid, gid } = this.#options;
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
  #createdFile(unsafe: Unsafe | undefined): Deno.FileInfo {
    const created = lstat(this.bindPath);
    if (!created?.isSocket) {
      // Only the `open` of a claim can have bound something else.
      if (unsafe?.reason !== undefined || this.#wanted.operation !== "claim") {
        throw this.#replacedWhileBound();
      }
      const found = created === null ? "nothing" : kindOf(created);
      throw new TypeError(
        `${this.#attempt()}: there is ${found} after the bind. ` +
          `Bind exactly this path, synchronously`,
      );
    }
    this.#own = created;
    this.#locks.requireOwner(created.uid);
    return created;
  }

  /** Refuses to change a socket that another user could exchange for a link to some other file. */
  #refuseChange({ reason, unseen }: Unsafe, what: "Its mode" | "Its owner"): never {
    if (reason === undefined) {
      requireGrants(
        `${this.#attempt()}: ${what.toLowerCase()} can be set only in a directory that is known to be safe`,
        { read: [...unseen] },
        this.#wanted,
      );
    }
    const remedy = what === "Its owner" || isGranted("sys", "umask")
      ? ""
      : ", or run with --allow-sys";
    throw new InsecurePath(
      `${this.#attempt()}: ${reason}. ${what} cannot be set there without risk to other files. ` +
        `Choose a directory that only you can write to${remedy}`,
      this.#wanted,
    );
  }

  #replacedWhileBound(cause?: unknown): Error {
    return new InsecurePath(
      `${this.#attempt()}: somebody replaced it while it was bound. ` +
        `Choose a directory that only you can write to`,
      { ...this.#wanted, code: "EPERM", cause },
    );
  }

  #takenMeanwhile(): Error {
    return new SocketInUse(
      `${this.#attempt()}: somebody else took it just now. Try again, or choose another path`,
      this.#wanted,
    );
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
    return failureToOwn(this.#wanted, error);
  }
}

/** Whether an error says that somebody is in the way. */
function isRefusal(error: unknown): boolean {
  return error instanceof SocketInUse || error instanceof NotASocket ||
    error instanceof ConnectDenied;
}

async function dispose(value: Disposable | AsyncDisposable): Promise<void> {
  // An `open` that is asynchronous, and wrong, may have bound something by then.
  const opened = await value;
  if (Symbol.asyncDispose in opened) await opened[Symbol.asyncDispose]();
  else opened[Symbol.dispose]();
}
