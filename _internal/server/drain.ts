/**
 * Draining a backlog: removes the name, and accepts every client that has reached the path. A
 * marker in the backlog shows when the clients ahead of it are accepted. See
 * docs/design/draining.md.
 */

import type { AcceptQueue } from "../accept/accept_queue.ts";
import { type AcceptedSocket, type Idle, NAMELESS } from "../accept/acceptor.ts";
import { isSame, newSecret, readSecret } from "../accept/marker.ts";
import { onAbort } from "../base/event_loop.ts";
import { SilenceTimer } from "../base/silence.ts";
import type { SocketConnection } from "../connection/socket_connection.ts";
import type { OwnedPath } from "../path/owned_path.ts";

/** How long to search for the marker after the deadline. */
const LATE_MS = 100;

/** After the marker was accepted. */
const MARKED: Idle = { turns: 3, ms: 0 };
/**
 * After the marker of an abstract name: the name stays until the listener closes, so clients keep
 * coming.
 */
const NAMED: Idle = { turns: 0, ms: 0 };
/**
 * At a descriptor no marker can be placed, and clients keep coming: those that come later than this
 * are left to the other processes that have it.
 */
export const GIVEN_MS = 500;
/** Without a marker: the backlog was full, no descriptor was free, or the name was lost. */
const UNMARKED: Idle = { turns: 40, ms: 0 };

/** Empties the backlog of one listener. */
export class Drain {
  readonly #path: string | null;
  readonly #owned: OwnedPath | undefined;
  readonly #secret = newSecret();
  readonly #marker = Promise.withResolvers<SocketConnection | undefined>();
  #isSearching = true;
  #idle = UNMARKED;

  /**
   * @param path The path that clients use; `null` at a descriptor.
   * @param owned The owned path; `undefined` for an abstract name, and at a descriptor.
   */
  constructor(path: string | null, owned: OwnedPath | undefined) {
    this.#path = path;
    this.#owned = owned;
  }

  /** Reads the first bytes of an accepted connection, while the marker is searched for. */
  readAhead(conn: AcceptedSocket): Promise<Uint8Array> | undefined {
    return this.#isSearching ? readSecret(conn) : undefined;
  }

  /** Checks whether an accepted connection is the marker. */
  async inspect(readAhead: Promise<Uint8Array>, conn: SocketConnection): Promise<void> {
    if (isSame(await readAhead, this.#secret)) this.#marker.resolve(conn);
  }

  /**
   * Resolves when the backlog counts as empty. Another caller must accept meanwhile, without a
   * pause.
   *
   * @param queue Accepts from the listener.
   * @param signal Ends the wait.
   * @param connections Returns how many connections are open.
   * @param onMarker Called with the marker, which is not a client, or without one if it cannot be
   * found.
   */
  async run(
    queue: AcceptQueue,
    signal: AbortSignal,
    connections: () => number,
    onMarker: (marker: SocketConnection | undefined) => void,
  ): Promise<void> {
    const marker = await this.#findMarker(signal).catch(() => undefined);
    this.#isSearching = false;
    if (marker !== undefined) this.#idle = this.#owned === undefined ? NAMED : MARKED;
    onMarker(marker);
    if (this.#idle === NAMED) return;
    const over = new AbortController();
    const end = () => over.abort();
    const stop = onAbort(signal, end);
    const timer = this.#path === null ? setTimeout(end, GIVEN_MS) : undefined;
    await queue.current.waitUntilIdle(this.#idle, over.signal, connections);
    clearTimeout(timer);
    stop();
  }

  /**
   * Places the marker and waits until it is accepted. Rejects if the backlog or the descriptor
   * table is full.
   */
  async #findMarker(signal: AbortSignal): Promise<SocketConnection | undefined> {
    using placed = await this.#removeName(signal);
    if (placed === undefined) return undefined;
    const giveUp = () => this.#marker.resolve(undefined);
    // Neither is awaited: a system that takes no byte must not outlast the deadline.
    placed.write(this.#secret).catch(giveUp);
    placed.read(new Uint8Array(1)).then(giveUp, giveUp);
    // A marker that is not found would count as a client, so the search goes on a little longer.
    const limit = new SilenceTimer(giveUp);
    const stop = onAbort(signal, () => limit.start(LATE_MS));
    const marker = await this.#marker.promise;
    stop();
    limit.stop();
    return marker;
  }

  /** Connects to the path, if it is still ours, and removes its name in the next instant. */
  async #removeName(signal: AbortSignal): Promise<Deno.UnixConn | undefined> {
    const owned = this.#owned;
    const locking = owned?.publishLockToLeave(signal);
    using publishLock = locking instanceof Promise ? await locking : locking;
    let connecting: Promise<Deno.UnixConn> | undefined;
    if (this.#path !== null && (owned?.hasName() ?? true)) {
      connecting = Deno.connect({ transport: "unix", path: this.#path });
      connecting.catch(() => {});
    } else if (owned?.look() === "replaced") {
      this.#idle = NAMELESS;
    }
    try {
      owned?.removeName(publishLock);
    } catch {
      // close() tries again, and reports the failure.
    }
    // Not awaited, so that the publish lock is released first.
    return connecting;
  }
}
