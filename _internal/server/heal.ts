/**
 * Healing: binds a lost path again. Then there are two listeners, until no client comes to the old
 * one, which has no name any more.
 */

import type { AcceptQueue } from "../accept/accept_queue.ts";
import type { AcceptedSocket, Acceptor } from "../accept/acceptor.ts";
import { lstat } from "../base/file.ts";
import type { Listen } from "../connection/native_slot.ts";
import type { OwnedPath } from "../path/owned_path.ts";
import { bind } from "./bind.ts";
import type { Reporter } from "./reporter.ts";

/** How long to wait before testing again whether the server at our path is alive. */
const RETEST_MS = 10_000;

/** Heals the path of one server. */
export class Healer {
  /** Settles when the present attempt is over. */
  healing: Promise<void> | undefined;
  /** Settles when every listener without a name is closed. */
  retiring: Promise<void> | undefined;
  readonly #owned: OwnedPath;
  readonly #queue: AcceptQueue;
  readonly #reporter: Reporter;
  readonly #listen: Listen;
  readonly #closing: AbortSignal;
  #retestAt = -Infinity;
  #hasReported = false;
  #hasFailed = false;

  /**
   * @param owned The path.
   * @param queue Gets the new listener.
   * @param reporter Reports losses, and failures.
   * @param listen Listens on a path.
   * @param closing Aborts when the server closes.
   */
  constructor(
    owned: OwnedPath,
    queue: AcceptQueue,
    reporter: Reporter,
    listen: Listen,
    closing: AbortSignal,
  ) {
    this.#owned = owned;
    this.#queue = queue;
    this.#reporter = reporter;
    this.#listen = listen;
    this.#closing = closing;
  }

  /**
   * Heals a lost path, unless an attempt is running.
   *
   * @param isFirst Whether this is the first look of its episode.
   * @param onHealed Called when the path is ours again.
   */
  heal(isFirst: boolean, onHealed: () => void): void {
    this.healing ??= this.#heal(isFirst, onHealed).finally(() => this.healing = undefined);
  }

  async #heal(isFirst: boolean, onHealed: () => void): Promise<void> {
    const owned = this.#owned;
    if (isFirst) {
      this.#retestAt = -Infinity;
      this.#hasReported = this.#hasFailed = false;
    }
    if (performance.now() < this.#retestAt && lstat(owned.path) !== null) return;
    try {
      using publishLock = await owned.acquirePublishLock(this.#closing);
      const heals = await owned.canRebind(publishLock, this.#closing);
      if (heals === undefined) return;
      this.#reportLoss(heals);
      // The callback may have closed the listener.
      this.#closing.throwIfAborted();
      if (heals) {
        // Published before the old listener closes: clients need not wait for its backlog, and
        // closing it removes a name at which nothing is any more.
        const bound = await bind(owned, this.#listen, publishLock);
        onHealed();
        this.retiring = this.#retire(this.#queue.replace(bound), this.retiring);
      } else if (lstat(owned.path) !== null) {
        this.#retestAt = performance.now() + RETEST_MS;
      }
    } catch (error) {
      if (this.#closing.aborted) return;
      this.#reportLoss(false);
      if (!this.#hasFailed) this.#reporter.report(error);
      this.#hasFailed = true;
    }
  }

  /** Reports the loss once in each episode. */
  #reportLoss(heals: boolean): void {
    if (!this.#hasReported) this.#reporter.reportLoss(this.#owned.path, heals);
    this.#hasReported = true;
  }

  /** Closes a listener that has lost its name, when no client comes to it any more. */
  async #retire(old: Acceptor<AcceptedSocket>, before: Promise<void> | undefined): Promise<void> {
    await this.#queue.empty(old, this.#closing);
    await before;
    try {
      using publishLock = await this.#owned.publishLockToLeave();
      await this.#owned.moveAside(() => old.close(), publishLock);
    } catch (error) {
      await old.close();
      this.#reporter.report(this.#owned.failureToLeave(error));
    }
  }
}
