/**
 * What guards a path: its lock and, with `publish: "rename"`, a second lock, the turn
 * (`<path>.lock.new`).
 *
 * - The lock says whose the path is. It is held as long as its server lives.
 * - The turn is held for an instant, by whoever binds `<path>.new`, renames it, removes a name, or closes
 *   a listener that was bound there.
 * - A server that starts takes the turn and then the lock. A successor finds the lock taken and goes on
 *   with the turn alone: once it has renamed its socket over the old one, it renames the turn's file over
 *   the lock's, and with that the turn has become the lock.
 * - A successor that ends between the two has left a dead socket, and the server that it was to replace
 *   still has the lock: that one binds the path again.
 */

import { InsecurePath } from "../../errors.ts";
import { isSameFile } from "../base/file.ts";
import { type Attempt, type LockHolder, LockPatience } from "./lock_wait.ts";
import { PathLock, peekLock } from "./path_lock.ts";
import { requireVacant } from "../path/stale_socket.ts";
import { attempt } from "../base/failure.ts";

/** How long others may take to bind and publish, or to close. */
const TURN_MS = 5000;

/** The turn where there are none: nothing is published by rename. */
const NO_TURN: Disposable = { [Symbol.dispose]() {} };

/** What is wanted of a path's lock. */
export interface LockOptions {
  /** Whether there are turns: the socket is published by renaming it. */
  hasTurns: boolean;
  /** Whether the holder of the lock may be replaced. */
  replaces: boolean;
}

/** The lock of a path, and the turn. */
export class LockAndTurn {
  readonly #wanted: Attempt;
  readonly #options: LockOptions;
  /** Nothing only until a server that holds it has been replaced. */
  #lock: PathLock | undefined;
  /** The turn in which this server starts. */
  #turn: PathLock | undefined;
  #rival: LockHolder | undefined;

  private constructor(wanted: Attempt, options: LockOptions) {
    this.#wanted = wanted;
    this.#options = options;
  }

  /** Takes the turn and the lock; only the turn where the lock's holder is to be replaced. */
  static async acquire(
    wanted: Attempt,
    options: LockOptions,
    signal?: AbortSignal,
  ): Promise<LockAndTurn> {
    const locks = new LockAndTurn(wanted, options);
    await locks.#take(signal);
    return locks;
  }

  /** The server that is to be replaced. */
  get rival(): LockHolder | undefined {
    return this.#rival;
  }

  /** The user who owns the lock file. */
  get uid(): number | null | undefined {
    return (this.#turn ?? this.#lock)?.uid;
  }

  /** Whether the lock is held, and its file is where it was. */
  hasLock(): boolean {
    return this.#lock?.hasName() === true;
  }

  /** Waits for the turn; where there are none there is nothing to wait for. Dispose of it to give it back. */
  async takeTurn(signal?: AbortSignal): Promise<Disposable> {
    return this.#options.hasTurns ? await this.#takeTurn(signal) : NO_TURN;
  }

  /**
   * The turn in which to give up a name or a listener; without a promise where it is free. If it cannot be
   * had, or not in time, we leave without it.
   */
  turnToLeave(signal?: AbortSignal): Disposable | Promise<Disposable> {
    if (!this.#options.hasTurns) return NO_TURN;
    try {
      const result = PathLock.trySync(this.#turnPath, this.#wanted, this.uid ?? null);
      return result instanceof PathLock ? result : this.takeTurn(signal).catch(() => NO_TURN);
    } catch {
      return NO_TURN;
    }
  }

  /**
   * The name of the lock file beside the bound path, to move another file to: the descriptor keeps the
   * lock. `undefined` where the file was removed and another one is there: that is a successor's lock.
   *
   * @param turn The turn, where there is one.
   */
  nameToSpare(turn: Disposable | undefined): string | undefined {
    const lock = this.#options.hasTurns ? turn : this.#lock;
    return lock instanceof PathLock && lock.isInPlace() ? lock.path : undefined;
  }

  /** Throws `InsecurePath` if the socket is another user's than the locks, which this process created. */
  requireOwner(uid: number | null): void {
    const lock = [this.#turn, this.#lock].find((each) => each !== undefined && each.uid !== uid);
    if (lock === undefined) return;
    const { operation, path } = this.#wanted;
    throw new InsecurePath(
      `${this.#attempt()}: the socket there belongs to uid ${uid} and its lock to uid ${lock.uid}, ` +
        `so another process has replaced it. Choose a directory that only you can write to`,
      { operation, path },
    );
  }

  /**
   * Takes the lock again that somebody removed; tells whether somebody else has it.
   *
   * @param socket The one that is published.
   */
  retake(socket: Deno.FileInfo | null): boolean {
    let result;
    try {
      result = PathLock.trySync(this.#lockPath, this.#wanted, this.uid ?? null);
    } catch {
      // The directory is gone, or full.
      return false;
    }
    if (!(result instanceof PathLock)) return !("error" in result);
    this.#lock?.release();
    this.#lock = result;
    if (socket !== null) result.mark(this.#options.hasTurns ? "published" : "bound", socket);
    return false;
  }

  /**
   * Looks once more at the lock of the server that is to be replaced, and takes it if it is free by now.
   * Tells whether nobody else has taken the path meanwhile.
   */
  confirm(): boolean {
    if (this.#rival !== undefined) {
      const { info, published } = this.#rival;
      const result = PathLock.trySync(this.#lockPath, this.#wanted, this.uid ?? null);
      if (result instanceof PathLock) this.#lock = result;
      else if (
        "error" in result || result.published !== published ||
        !isSameFile(result.info ?? null, info ?? null)
      ) return false;
    }
    this.#rival = undefined;
    return true;
  }

  /** Writes down which socket was bound, or is about to be published. */
  mark(how: "bound" | "published", socket: Deno.FileInfo): void {
    (this.#lock ?? this.#turn)?.mark(how, socket);
  }

  /** Makes the turn the lock, where the lock is that of a server whose socket has just been displaced. */
  succeed(): void {
    if (this.#lock !== undefined) return;
    this.#turn?.moveTo(this.#lockPath);
    this.#lock = this.#turn;
    this.#turn = undefined;
  }

  /** Gives back the turn in which this server has started, or could not. */
  endStart(): void {
    try {
      this.#turn?.release();
    } catch {
      // It is free; whoever takes the turn next removes its file.
    }
    this.#turn = undefined;
  }

  /** Gives back both where something else has failed: a file that cannot be removed is of no use then. */
  abandon(): void {
    try {
      this.release();
    } catch {
      // It is free, and the next start removes it.
    }
  }

  /** Gives back both. Idempotent. */
  release(): void {
    try {
      this.#lock?.release();
    } finally {
      this.endStart();
    }
  }

  get #turnPath(): string {
    return `${this.#wanted.path}.lock.new`;
  }

  get #lockPath(): string {
    return `${this.#wanted.path}.lock`;
  }

  /**
   * Takes the turn and the lock. If another program's file is in the place of one of them, a server that
   * listens is the refusal that matters.
   */
  async #take(signal: AbortSignal | undefined): Promise<void> {
    try {
      await this.#takeBoth(signal);
    } catch (error) {
      const isForeign = error instanceof InsecurePath;
      // A server of ours does not make the file beside its lock less foreign.
      if (isForeign && !(await peekLock(this.#wanted.path)).held) {
        await requireVacant(this.#wanted, "reclaim", signal);
      }
      throw error;
    }
  }

  async #takeBoth(signal: AbortSignal | undefined): Promise<void> {
    const { hasTurns, replaces } = this.#options;
    const patience = new LockPatience(
      this.#wanted,
      (holder, remedy) =>
        `${this.#attempt()}: it is in use by ${holder}, which holds its lock. ` +
        (replaces
          ? `It cannot be replaced, because it was not published by rename: ${remedy}`
          : capitalized(remedy)) +
        ` first, or choose another path`,
    );
    if (!hasTurns) {
      this.#lock = await PathLock.acquire(this.#lockPath, this.#wanted, patience, signal);
      return;
    }
    try {
      for (;;) {
        this.#turn = await this.#takeTurn(signal);
        const result = await PathLock.try(this.#lockPath, this.#wanted);
        if (result instanceof PathLock) {
          this.#lock = result;
          return;
        }
        if (replaces && "published" in result) {
          this.#requireSameUser(result);
          this.#rival = result;
          return;
        }
        // Whoever holds the lock may need the turn to give it back.
        this.endStart();
        await patience.wait(result, signal);
      }
    } catch (error) {
      this.endStart();
      throw error;
    }
  }

  /** Throws `InsecurePath` if the server that is to be replaced is another user's. */
  #requireSameUser({ info }: LockHolder): void {
    if (info?.uid === this.uid) return;
    throw new InsecurePath(
      `${this.#attempt()}: its server belongs to uid ${info?.uid} and this process is uid ` +
        `${this.uid}, and only servers of one user replace each other. Stop that one first, or ` +
        `choose another path`,
      { operation: this.#wanted.operation, path: this.#lockPath },
    );
  }

  async #takeTurn(signal: AbortSignal | undefined): Promise<PathLock> {
    const path = this.#turnPath;
    const patience = new LockPatience(
      this.#wanted,
      (holder, remedy) =>
        `${this.#attempt()}: ${holder} is starting or ending there, and does not come to an end: it ` +
        `holds ${JSON.stringify(path)}. ${capitalized(remedy)} first, or choose another path`,
      TURN_MS,
    );
    return await PathLock.acquire(path, this.#wanted, patience, signal);
  }

  #attempt(): string {
    return attempt(this.#wanted.operation, this.#wanted.path);
  }
}

function capitalized(text: string): string {
  return text.replace(/^./, (first) => first.toUpperCase());
}
