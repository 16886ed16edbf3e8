/**
 * A server of another kind, such as `Deno.serve`, that is bound to an owned path and published by
 * rename. It watches the path, and closes the server without losing a client.
 *
 * - Its accepts cannot be observed. The end of its backlog is found from outside: see
 *   docs/design/takeover.md.
 * - A server with `EMPTIES_BACKLOG` is closed at once: it accepts its backlog itself.
 * - Closing it unlinks the name that it has bound, at some moment before it has ended.
 */

import { type Idle, NAMELESS } from "../accept/acceptor.ts";
import { turn } from "../base/event_loop.ts";
import { codeOf } from "../base/failure.ts";
import { lstat } from "../base/file.ts";
import { dispose, type OwnedPath } from "../path/owned_path.ts";
import { PathWatch } from "../path/watch.ts";
import { Reporter } from "./reporter.ts";

/** How long the server may take to accept the marker. */
const MARKER_MS = 5000;
/** The same after a takeover, when no client waits for it. */
const LONG_MARKER_MS = 30_000;
/** For the clients that got behind the marker, or reached a path that was lost. */
const FEW: Idle = { turns: 40, ms: 0 };
/** The listener is closed already. */
const CLOSED: Idle = { turns: 0, ms: 0 };

/** What a connection to a closed listener fails with, or is reset with in its backlog. */
const GONE = new Set(["ECONNREFUSED", "ECONNRESET"]);

/** How long a server may take to unlink its path. Node's and Deno's take one turn. */
const UNLINK_TURNS = 1000;
/** A listener with a pending accept unlinks its path one turn after it was closed. */
const ENDED_TURNS = 2;

/** The property of a server that accepts the whole backlog when it is closed. */
export const EMPTIES_BACKLOG: unique symbol = Symbol("empties its backlog");

/** The server of a claim that was published by rename. */
export class ClaimedServer {
  readonly #owned: OwnedPath;
  readonly #server: Disposable | AsyncDisposable;
  readonly #watch: PathWatch;
  #left: Promise<void> | undefined;

  /**
   * @param owned The path.
   * @param server What is bound to it. It is closed with this.
   * @param onReplaced Called when a successor has taken over the path.
   */
  constructor(
    owned: OwnedPath,
    server: Disposable | AsyncDisposable,
    onReplaced: () => void = () => {},
  ) {
    this.#owned = owned;
    this.#server = server;
    this.#watch = new PathWatch(owned, {
      replaced: () => {
        new Reporter().call("onReplaced", onReplaced);
        // The release of the claim rejects with the failure.
        this.leave().catch(() => {});
      },
      lost() {},
    });
  }

  /**
   * Removes the name if it is ours, waits until the backlog is empty, closes the server, and
   * releases the path. Resolves when the server has ended. Idempotent.
   */
  leave(): Promise<void> {
    return this.#left ??= this.#leave();
  }

  async #leave(): Promise<void> {
    const owned = this.#owned;
    this.#watch.stop();
    let ended: Promise<void> | undefined;
    const close = () => ended ??= dispose(this.#server);
    try {
      await this.#drain();
      using publishLock = await owned.publishLockToLeave();
      try {
        await owned.moveAside(() => untilUnlinked(owned.bindPath, close), publishLock);
      } finally {
        owned.release(publishLock);
      }
    } catch (error) {
      throw owned.failureToLeave(error);
    } finally {
      // A successor may start, while the server finishes its requests.
      await close();
    }
  }

  /**
   * Removes the name, and resolves when the server has accepted its backlog. One that does so when
   * it is closed is not waited for.
   */
  async #drain(): Promise<void> {
    const owned = this.#owned;
    const emptiesItself = EMPTIES_BACKLOG in this.#server;
    let marked: Promise<Idle> | undefined;
    let isReplaced = false;
    {
      using publishLock = await owned.publishLockToLeave();
      try {
        isReplaced = owned.look() === "replaced";
        const name = emptiesItself ? undefined : owned.findName();
        if (name !== undefined) marked = placeMarker(name, isReplaced ? LONG_MARKER_MS : MARKER_MS);
        owned.removeName(publishLock);
      } catch {
        // The release tries again, and reports the failure.
      }
    }
    if (emptiesItself) return;
    const idle = await marked ?? FEW;
    // Clients that keep their connections get the time for one more answer.
    const { turns, ms } = isReplaced && idle !== CLOSED ? NAMELESS : idle;
    const start = performance.now();
    for (let i = 0; i < turns || performance.now() - start < ms; i++) await turn();
  }
}

/**
 * Connects and ends the connection, which a server then ends too. Resolves when it has: everything
 * ahead in the backlog is accepted.
 *
 * @param limit How long, in milliseconds, that may take.
 * @returns How long to wait for the clients that got behind it, or for the whole backlog.
 */
async function placeMarker(path: string, limit: number): Promise<Idle> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    using marker = await Deno.connect({ transport: "unix", path });
    timer = setTimeout(() => marker.close(), limit);
    await marker.closeWrite();
    const greeting = new Uint8Array(1024);
    while (await marker.read(greeting) !== null);
    return FEW;
  } catch (error) {
    return GONE.has(codeOf(error) ?? "") ? CLOSED : NAMELESS;
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Closes a server, and resolves when it has unlinked a path. A stand-in is bound there, because
 * nothing else shows that.
 *
 * @param close Closes the server. Its promise may take long.
 */
async function untilUnlinked(path: string, close: () => Promise<void>): Promise<void> {
  using _standIn = bindIfFree(path);
  let turns = UNLINK_TURNS;
  const settle = () => turns = Math.min(turns, ENDED_TURNS);
  close().then(settle, settle);
  while (turns-- > 0 && lstat(path) !== null) await turn();
}

/** Binds a path. Returns nothing if that fails: the server must be closed nevertheless. */
function bindIfFree(path: string): Deno.UnixListener | undefined {
  try {
    return Deno.listen({ transport: "unix", path });
  } catch {
    return undefined;
  }
}
