/**
 * A socket path that this process owns. `claim()` and `listen()` are thin layers over it.
 *
 * ```
 *   acquire()            bind()        file removed or replaced
 *   ----------> acquired ------> ours ---------------------------> lost
 *                  |              |  <---------------------------   |
 *                  |              |            bind() again         | another process
 *                  |              |                                 v has path and lock
 *                  +- release() --+----------------------------- replaced
 *                          v
 *                       released
 * ```
 */

import {
  ConnectDenied,
  InsecurePath,
  isSocketError,
  NotASocket,
  SocketInUse,
} from "../../errors.ts";
import { show } from "../base/check.ts";
import { isGranted } from "../base/deno_permissions.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { delay } from "../base/event_loop.ts";
import { codeOf, failureToOwn, isSystemFailure, systemError } from "../base/failure.ts";
import { hasTimeOfBirth, isSameFile, lstat, removeIfSame } from "../base/file.ts";
import { PathLocks, type PublishLock } from "../lock/path_locks.ts";
import { peekLock } from "../lock/peek_lock.ts";
import { SocketDirectory } from "./directory.ts";
import { moveAside } from "./move_aside.ts";
import { requireThisSide } from "./other_side.ts";
import { type AccessOptions, replacedWhileBound, SocketAccess } from "./socket_access.ts";
import { removeHalfMade, removeStale, requireReplaceable } from "./stale_socket.ts";

/**
 * After how long files get another time: the kernel counts it in ticks of 1 to 10 ms (CONFIG_HZ).
 */
const FILE_CLOCK_MS = 20;

/** The paths that `bind()` of claims in this process is opening. */
const opening = new Set<string>();

/** The errors of {@linkcode requireReplaceable}. */
const REFUSALS = [SocketInUse, NotASocket, ConnectDenied];

/** The options of an owned path, checked and complete. */
export interface OwnedPathOptions extends AccessOptions {
  existing: "reclaim" | "fail" | "replace";
  createDirectory: boolean;
  verifyDirectory: boolean;
  publish: "direct" | "rename";
  selfHeal: boolean;
}

/**
 * The state of a bound path.
 *
 * - `"ours"`: the name leads to our socket.
 * - `"lost"`: it does not.
 * - `"replaced"`: it leads to another socket, and another process holds the lock.
 */
export type PathState = "ours" | "lost" | "replaced";

/** A socket path that this process owns, or is about to take over. */
export class OwnedPath {
  /** The path that clients use. */
  readonly path: string;
  /** The path to bind: the same, or with `publish: "rename"` the one that is renamed over it. */
  readonly bindPath: string;
  /** Whether a stale socket was removed from the path at the start. */
  hasRemovedStale = false;
  readonly #context: ErrorContext;
  readonly #options: OwnedPathOptions;
  readonly #directory: SocketDirectory;
  readonly #locks: PathLocks;
  /**
   * The other name of a replaced claim's socket, if this process may use it. The claim places a
   * marker there.
   */
  readonly #oldPath: string | undefined;
  /** What may be displaced at the path: a stale socket, or that of the incumbent. */
  #replaceable: Deno.FileInfo | null = null;
  #own: Deno.FileInfo | null = null;

  private constructor(context: ErrorContext, options: OwnedPathOptions) {
    const { path } = context;
    const byRename = options.publish === "rename";
    this.path = path;
    this.bindPath = byRename ? `${path}.new` : path;
    const oldPath = `${path}.old`;
    const mayUse = isGranted("read", oldPath) && isGranted("write", oldPath);
    if (byRename && mayUse) this.#oldPath = oldPath;
    this.#context = context;
    this.#options = options;
    this.#directory = new SocketDirectory(context);
    this.#locks = new PathLocks(context, { byRename, replaces: options.existing === "replace" });
  }

  /** Takes the lock, or finds an incumbent to replace, and removes a stale socket. */
  static async acquire(
    context: ErrorContext,
    options: OwnedPathOptions,
    signal?: AbortSignal,
  ): Promise<OwnedPath> {
    const owned = new OwnedPath(context, options);
    if (opening.has(owned.path)) {
      const state = "bind() of a claim in this process is opening it. listen(), serve() and " +
        "claim() take the path themselves: do not call them in bind()";
      throw context.fail(new TypeError(state));
    }
    await owned.#acquire(signal);
    return owned;
  }

  async #acquire(signal: AbortSignal | undefined): Promise<void> {
    const { createDirectory, verifyDirectory } = this.#options;
    if (createDirectory) this.#directory.create();
    await requireThisSide(this.#context, { byRename: this.bindPath !== this.path }, signal);
    await this.#acquireLocks(signal);
    try {
      if (verifyDirectory) this.#directory.verify(this.#locks.uid);
      await this.#clear(signal);
    } catch (error) {
      const failure = error === signal?.reason ? error : this.#failure(error);
      await this.cleanUpAfter(failure, () => this.#locks.release());
      throw failure;
    }
  }

  /**
   * Takes the locks. If another program's file is in their place, a server that listens is the
   * first refusal.
   */
  async #acquireLocks(signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#locks.acquire(signal);
    } catch (error) {
      // If a server of this package listens, the other file is still the reason.
      if (error instanceof InsecurePath && !(await peekLock(this.path)).held) {
        await requireReplaceable(this.#context, signal);
      }
      throw error;
    }
  }

  /**
   * Binds by `open`, sets the owner and the mode of the file, and publishes it. If
   * anything fails, what `open` returned is disposed of.
   *
   * @param open Binds {@linkcode bindPath}.
   * @param dropEarly Called before it is published, if other users than asked for could connect
   * until the mode was set.
   * @param publishLock The publish lock: by default the one under which this server starts.
   */
  async bind<T extends Disposable | AsyncDisposable>(
    open: () => T | Promise<T>,
    dropEarly: (value: T) => Promise<void>,
    publishLock: PublishLock = this.#locks.start,
  ): Promise<T> {
    const { uid } = this.#locks;
    const unsafe = this.#directory.unsafe(uid);
    const access = new SocketAccess(this.#context, this.bindPath, this.#options, unsafe);
    const isClaim = this.#context.operation === "claim";
    let value: T;
    try {
      if (isClaim) opening.add(this.bindPath);
      const opened = access.bind(open);
      value = opened instanceof Promise ? await opened : opened;
      requireDisposable(value);
    } catch (reason) {
      const error = access.explain(reason);
      const failure = this.#failure(error);
      if (codeOf(error) !== "EADDRINUSE") {
        await this.cleanUpAfter(failure, () => removeHalfMade(this.bindPath, uid));
      }
      throw failure;
    } finally {
      if (isClaim) opening.delete(this.bindPath);
    }
    const before = this.#own;
    try {
      const created = this.#own = access.find();
      access.requireOwner(created, uid);
      if (this.#options.verifyDirectory) this.#directory.verify(uid);
      this.#own = access.apply(created);
      this.#locks.mark("bound", this.#own);
      // It is then known by its time of modification, which must differ from every later socket's.
      if (!hasTimeOfBirth(this.#own)) await delay(FILE_CLOCK_MS);
      if (access.isExposed(created)) await dropEarly(value);
      if (this.bindPath !== this.path) this.#publish(this.#own, publishLock);
      return value;
    } catch (error) {
      const failure = this.#failure(error);
      await this.cleanUpAfter(failure, () => {
        const close = () => dispose(value);
        if (this.#own !== before) return this.moveAside(close, publishLock);
        // Without a description of our file, no other file can be recognized.
        return close().then(() => removeHalfMade(this.bindPath, uid));
      });
      await this.cleanUpAfter(failure, () => this.removeName(publishLock));
      this.#own = before;
      throw failure;
    } finally {
      this.#locks.endStart();
    }
  }

  /** Reports whether the name still leads to our socket. */
  hasName(): boolean {
    return isSameFile(lstat(this.path), this.#own);
  }

  /**
   * Returns the state of the path. Creates a lock file again that was removed, unless another
   * process has the lock. It is not created for a lost path, which it would only keep from others.
   */
  look(): PathState {
    const there = lstat(this.path);
    const isOurs = isSameFile(there, this.#own);
    if (this.#locks.hasLock()) return isOurs ? "ours" : "lost";
    const isTaken = (isOurs || this.#mayHeal(there)) && this.#locks.retake(this.#own);
    if (isOurs) return "ours";
    return isTaken && there?.isSocket ? "replaced" : "lost";
  }

  /**
   * Reports whether the path, which is lost, can be bound again without displacing another server.
   * Returns `undefined` if it is not lost.
   */
  async canRebind(_held: PublishLock, signal: AbortSignal): Promise<boolean | undefined> {
    if (this.look() !== "lost") return undefined;
    if (!this.#mayHeal(lstat(this.path)) || !this.#locks.hasLock()) return false;
    try {
      await requireThisSide(this.#context, { byRename: true, holdsLock: true }, signal);
      this.#replaceable = await requireReplaceable(this.#context, signal);
      await removeStale(this.#context.at(this.bindPath), signal);
      return true;
    } catch (error) {
      if (REFUSALS.some((Class) => error instanceof Class)) return false;
      throw error;
    }
  }

  /** Waits for the publish lock. Dispose of it to release it. */
  acquirePublishLock(signal?: AbortSignal): Promise<PublishLock> {
    return this.#locks.acquirePublishLock(signal);
  }

  /** Takes the publish lock, as {@linkcode PathLocks.publishLockToLeave}. */
  publishLockToLeave(signal?: AbortSignal): PublishLock | Promise<PublishLock> {
    return this.#locks.publishLockToLeave(signal);
  }

  /** Returns a name that leads to our socket: the path, or the other one after a takeover. */
  findName(): string | undefined {
    const names = [this.path, ...(this.#oldPath === undefined ? [] : [this.#oldPath])];
    return names.find((name) => isSameFile(lstat(name), this.#own));
  }

  /** Removes the names of our socket, those that are still ours. */
  removeName(_held: PublishLock): void {
    const names = new Set([this.path, this.bindPath, this.#oldPath ?? this.path]);
    for (const name of names) removeIfSame(name, this.#own);
  }

  /**
   * Calls `close`, which unlinks the bound path. Another program's file there is moved aside until
   * then.
   *
   * - It gets the name of the lock file, which needs no further permission. The lock is held by its
   *   descriptor, so it does not need the name.
   * - A process that wants the lock in that time does not find a regular file, and tries again.
   * - If the lock file is not ours any more, both names are a successor's. Then the file gets
   *   another name, if that is permitted.
   */
  async moveAside(close: () => Promise<void>, publishLock: PublishLock): Promise<void> {
    const there = lstat(this.bindPath);
    if (there === null || there.isDirectory || isSameFile(there, this.#own)) return await close();
    const other = `${this.bindPath}.${Deno.pid}`;
    const aside = this.#locks.spareName(publishLock) ??
      (isGranted("read", other) && isGranted("write", other) ? other : undefined);
    await (aside === undefined ? close() : moveAside(this.bindPath, aside, close));
  }

  /**
   * Removes the socket file and releases the lock. Idempotent.
   *
   * @param publishLock The publish lock: by default the one under which this server starts.
   */
  release(publishLock: PublishLock = this.#locks.start): void {
    try {
      this.removeName(publishLock);
    } finally {
      this.#locks.release();
    }
  }

  /** Returns the error for what could not be removed. */
  failureToLeave(error: unknown): unknown {
    const start = `Cannot remove ${JSON.stringify(this.path)} and its lock`;
    return isSystemFailure(error) ? systemError(start, error, this.#context) : error;
  }

  /**
   * Cleans up after a failure. If that fails too, its error is attached to the failure as
   * `cleanupError`.
   *
   * @param failure What is about to be thrown.
   * @param cleanUp Removes what the failed call left.
   */
  async cleanUpAfter(failure: unknown, cleanUp: () => void | Promise<void>): Promise<void> {
    try {
      await cleanUp();
    } catch (error) {
      if (!isSocketError(failure) || failure.cleanupError !== undefined) return;
      Object.assign(failure, { cleanupError: this.failureToLeave(error) });
    }
  }

  /** Ensures that the path is free, or held by a server that may be replaced. */
  async #clear(signal: AbortSignal | undefined): Promise<void> {
    const { incumbent } = this.#locks;
    const there = lstat(this.path);
    if (this.#options.existing === "fail" && there?.isSocket) {
      throw this.#context.error(
        SocketInUse,
        `a socket is there already, and existing: "fail" removes none`,
      );
    }
    if (incumbent === undefined) {
      this.hasRemovedStale = await removeStale(this.#context, signal);
    } else if (there?.isSocket && there.ino === incumbent.published) {
      // While it listens, no other file can have its inode.
      this.#replaceable = there;
    } else {
      this.#replaceable = await requireReplaceable(this.#context, signal);
    }
    // Only the holder of the publish lock uses the other name.
    if (this.bindPath !== this.path) {
      await removeStale(this.#context.at(this.bindPath), signal);
    }
    // Left by a claim that was killed in the moment after it was replaced. To link a socket to it
    // needs no permission for net, but to test it does.
    const oldPath = this.#oldPath;
    if (oldPath !== undefined && isGranted("net", `unix:${oldPath}`)) {
      await removeStale(this.#context.at(oldPath), signal).catch(() => {});
    }
  }

  /**
   * Renames the socket to its path. It is synchronous, so that little can happen after the checks.
   * What Deno has no call to prevent is described in docs/design/takeover.md.
   */
  #publish(own: Deno.FileInfo, publishLock: PublishLock): void {
    const there = lstat(this.path);
    if (there !== null && !isSameFile(there, this.#replaceable)) throw this.#takenMeanwhile();
    if (!isSameFile(lstat(this.bindPath), own)) throw replacedWhileBound(this.#context);
    const { incumbent } = this.#locks;
    // Not a stale socket in the place of the claim's.
    const isClaim = incumbent?.byClaim === true && there?.ino === incumbent.published;
    if (!this.#locks.confirm()) throw this.#takenMeanwhile();
    this.#locks.mark("published", own);
    const oldPath = isClaim ? this.#oldPath : undefined;
    try {
      if (oldPath !== undefined) tryLink(this.path, oldPath);
      Deno.renameSync(this.bindPath, this.path);
    } catch (error) {
      if (oldPath !== undefined) removeIfSame(oldPath, there);
      throw codeOf(error) === "ENOENT" ? replacedWhileBound(this.#context, error) : error;
    }
    try {
      this.#locks.succeed(publishLock);
    } catch (error) {
      // The stale socket stays, for the incumbent to replace.
      this.#own = null;
      throw error;
    }
  }

  /** Reports whether this server may bind its path again, given the file at it. */
  #mayHeal(there: Deno.FileInfo | null): boolean {
    if (this.bindPath === this.path) return false;
    // A stale socket may be that of a successor that ended before it had the lock.
    return there === null ? this.#options.selfHeal : there.isSocket === true;
  }

  #takenMeanwhile(): Error {
    return this.#context.error(
      SocketInUse,
      "another process took it just now. Try again, or choose another path",
    );
  }

  /** Returns an error of ours as it is, and one of the system in the shape of ours. */
  #failure(error: unknown): unknown {
    if (!isSystemFailure(error) || (error as { operation?: string }).operation) return error;
    if (codeOf(error) !== "EADDRINUSE") return failureToOwn(this.#context, error);
    const state = this.hasName()
      ? "a listener of this claim is bound to it already. Close it first"
      : "another process bound it just now. Stop that one first, or choose another path";
    return this.#context.error(SocketInUse, state, { cause: error });
  }
}

/** Links a socket to another name. The claim that it belongs to can do without. */
function tryLink(path: string, other: string): void {
  try {
    Deno.linkSync(path, other);
  } catch {
    // Another file is there, or the file system has no links.
  }
}

/** Throws unless a value can be disposed of. Only the `open` of a claim returns another one. */
function requireDisposable(value: Partial<Disposable & AsyncDisposable> | null | undefined): void {
  if (typeof (value?.[Symbol.asyncDispose] ?? value?.[Symbol.dispose]) === "function") return;
  throw new TypeError(
    "Invalid open: bind() expected a server from it that can be disposed of, " +
      `got ${show(value)}. Return the server that it starts`,
  );
}

/** Disposes of a listener. */
export async function dispose(value: Disposable | AsyncDisposable): Promise<void> {
  if (Symbol.asyncDispose in value) await value[Symbol.asyncDispose]();
  else value[Symbol.dispose]();
}
