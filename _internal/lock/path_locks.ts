/**
 * The locks of a path: the lock, `<path>.lock`, and with `publish: "rename"` the publish lock,
 * `<path>.lock.new`. A server holds the lock as long as it lives, and the publish lock while it
 * binds, renames, removes a name or closes its listener: see docs/design/takeover.md.
 *
 * ```
 *            publish: "direct"
 *   start ------------------------------------------------------> lock
 *     |                       the lock is free                     ^  ^
 *     +---> publish lock ---> publish lock + lock ---- endStart ---+  |
 *                |                                                    |
 *                |            an incumbent holds the lock             |
 *                +----------> publish lock, incumbent ---- succeed ---+
 * ```
 */

import { InsecurePath } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { isSameFile } from "../base/file.ts";
import { LockWait } from "./lock_wait.ts";
import type { LockHolder } from "./obstacle.ts";
import { type Bound, PathLock } from "./path_lock.ts";

/** How long another process may take to bind and publish, or to close. */
const PUBLISH_LOCK_MS = 5000;

/** What a start does with a path's lock. */
export interface LockOptions {
  /** Whether the socket is published by renaming it, so that there is a publish lock. */
  byRename: boolean;
  /** Whether the holder of the lock may be replaced. */
  replaces: boolean;
}

/**
 * The publish lock until it is disposed of. `undefined` if nothing is published by rename, or if a
 * server that leaves could not get it.
 */
export type PublishLock = PathLock | undefined;

/** The locks that a server has on its path. */
export class PathLocks {
  readonly #context: ErrorContext;
  readonly #options: LockOptions;
  #start: PublishLock;
  #uid: number | null = null;
  /** `undefined` while an incumbent holds it. */
  #lock: PathLock | undefined;
  #incumbent: LockHolder | undefined;

  /**
   * @param context What is tried. Its path is that of the socket.
   * @param options What a start does with the lock.
   */
  constructor(context: ErrorContext, options: LockOptions) {
    this.#context = context;
    this.#options = options;
  }

  /** Takes the publish lock and the lock, or finds the incumbent to replace. */
  async acquire(signal?: AbortSignal): Promise<void> {
    const { replaces } = this.#options;
    const reason = replaces
      ? ". It cannot be replaced, because it was not published by rename"
      : "";
    const wait = new LockWait(
      this.#context,
      (holder) => `it is in use by ${holder}, which holds its lock${reason}`,
    );
    for (;;) {
      const start = this.#start = await this.acquirePublishLock(signal);
      try {
        const result = await PathLock.try(this.#context, `${this.#context.path}.lock`);
        const isTaken = result instanceof PathLock;
        if (isTaken) this.#lock = result;
        this.#uid = (start ?? this.#lock)?.uid ?? null;
        if (isTaken) return;
        if (replaces && "published" in result) {
          requireSameUser(this.#context, result.info?.uid, this.#uid);
          this.#incumbent = result;
          return;
        }
        // The holder may need the publish lock to release its lock.
        drop(start);
        await wait.wait(result, signal);
      } catch (error) {
        drop(start);
        throw error;
      }
    }
  }

  /** The publish lock under which this server starts. */
  get start(): PublishLock {
    return this.#start;
  }

  /** The user that owns the lock files: the one that this process runs as. */
  get uid(): number | null {
    return this.#uid;
  }

  /** The server to replace. */
  get incumbent(): LockHolder | undefined {
    return this.#incumbent;
  }

  /** Reports whether the lock is held, and its file is in its place. */
  hasLock(): boolean {
    return this.#lock?.hasName() === true;
  }

  /** Waits for the publish lock. `undefined` if nothing is published by rename. */
  async acquirePublishLock(signal?: AbortSignal): Promise<PublishLock> {
    if (!this.#options.byRename) return undefined;
    const path = `${this.#context.path}.lock.new`;
    const wait = new LockWait(
      this.#context,
      (holder) =>
        `${holder} has held ${JSON.stringify(path)} for ${PUBLISH_LOCK_MS / 1000} s ` +
        `while starting or stopping`,
      PUBLISH_LOCK_MS,
    );
    for (;;) {
      const result = await PathLock.try(this.#context, path);
      if (result instanceof PathLock) return result;
      await wait.wait(result, signal);
    }
  }

  /**
   * Takes the publish lock to remove a name or to close a listener, without a promise if it is
   * free. `undefined` if it cannot be had, or not in time: a server leaves without it.
   */
  publishLockToLeave(signal?: AbortSignal): PublishLock | Promise<PublishLock> {
    if (!this.#options.byRename) return undefined;
    try {
      const result = this.#try(".lock.new");
      if (result instanceof PathLock) return result;
      return this.acquirePublishLock(signal).catch(() => undefined);
    } catch {
      return undefined;
    }
  }

  /**
   * Returns the name of the lock file beside the bound path, to which another file can be moved
   * while the descriptor keeps the lock. Returns `undefined` if another lock file is there: that is
   * a successor's.
   */
  spareName(publishLock: PublishLock): string | undefined {
    const lock = this.#options.byRename ? publishLock : this.#lock;
    return lock?.isInPlace() ? lock.path : undefined;
  }

  /**
   * Takes the lock again after its file was removed. Reports whether another process has taken it.
   *
   * @param socket The published one.
   */
  retake(socket: Deno.FileInfo | null): boolean {
    let result;
    try {
      result = this.#try(".lock");
    } catch {
      // The directory is gone, or full.
      return false;
    }
    if (!(result instanceof PathLock)) return !("error" in result);
    this.#lock?.release();
    this.#lock = result;
    if (socket !== null) this.mark(this.#options.byRename ? "published" : "bound", socket);
    return false;
  }

  /**
   * Checks the incumbent's lock once more, and takes it if it is free. Reports whether no other
   * process has taken the path.
   */
  confirm(): boolean {
    const incumbent = this.#incumbent;
    if (incumbent === undefined) return true;
    const result = this.#try(".lock");
    if (result instanceof PathLock) this.#lock = result;
    else if (
      "error" in result || result.published !== incumbent.published ||
      !isSameFile(result.info ?? null, incumbent.info ?? null)
    ) return false;
    this.#incumbent = undefined;
    return true;
  }

  /** Records the socket that was bound, or that is about to be published. */
  mark(how: "bound" | "published", socket: Deno.FileInfo): void {
    const isClaim = how === "published" && this.#context.operation === "claim";
    const bound: Bound = isClaim ? "published by claim" : how;
    (this.#lock ?? this.#start)?.mark(bound, socket);
  }

  /** Renames the publish lock over the lock of the incumbent, after its socket was displaced. */
  succeed(publishLock: PublishLock): void {
    this.#lock ??= publishLock?.moveTo(`${this.#context.path}.lock`);
  }

  /** Releases the publish lock under which this server has started, or failed to. */
  endStart(): void {
    drop(this.#start);
  }

  /** Releases the locks. Idempotent. */
  release(): void {
    try {
      this.#lock?.release();
    } finally {
      this.endStart();
    }
  }

  #try(suffix: ".lock" | ".lock.new") {
    return PathLock.trySync(this.#context, `${this.#context.path}${suffix}`, this.#uid);
  }
}

/** Releases a publish lock. If its file remains, its next holder removes it. */
function drop(publishLock: PublishLock): void {
  try {
    publishLock?.release();
  } catch {
    // It is unlocked.
  }
}

/** Throws `InsecurePath` if the incumbent is another user's. */
function requireSameUser(
  context: ErrorContext,
  incumbent: number | null | undefined,
  own: number | null,
): void {
  if (incumbent === own) return;
  throw context.error(
    InsecurePath,
    `its server belongs to uid ${incumbent} and this process is uid ${own}, and only ` +
      `servers of one user replace each other. Stop that one first, or choose another path`,
    { path: `${context.path}.lock` },
  );
}
