/**
 * A listening socket on a path that is ours: what `listen()` and `serve()` are made of.
 *
 * - `accept` survives what passes: no descriptor left (`EMFILE`, `ENFILE`), no memory, a client that
 *   gave up. It tries again after a pause that doubles from 5 ms to 1 s, or as soon as
 *   {@linkcode ListeningSocket.wake} says that a descriptor was freed.
 * - Closing is a sequence: name, listener, its pending accept, lock. Deno unlinks the path only when
 *   the pending accept has rejected; a lock that is released before that lets a successor bind a file
 *   which Deno then removes.
 */

import { resolveSocketPath, type SocketPath, type UnixAddr } from "../address.ts";
import { SocketInUse } from "../errors.ts";
import { CLAIM_OPTIONS, claimDefaults, requireClaimable } from "./claim_options.ts";
import { delay } from "./delay.ts";
import { requireGrants } from "./grants.ts";
import { checkSignal } from "./options.ts";
import { PathClaim, type PathClaimOptions } from "./path_claim.ts";
import { requireRuntime } from "./runtime.ts";
import { SocketConnection, type SocketConnectionOptions } from "./socket_connection.ts";
import {
  type Candidate,
  connectToSelf,
  isSame,
  readSome,
  SECRET_SIZE,
  type SelfConnection,
} from "./self_connection.ts";
import { attempt, codeOf, systemError } from "./system_error.ts";

/** What `listen()` and `serve()` have in common. */
export type ListeningOptions =
  & { readonly [K in keyof PathClaimOptions]?: PathClaimOptions[K] }
  & { readonly path: SocketPath; readonly signal?: AbortSignal };

/** The names of those options. */
export const LISTENING_OPTIONS: readonly string[] = ["path", ...CLAIM_OPTIONS, "publish", "signal"];

const FIRST_PAUSE_MS = 5;
const LAST_PAUSE_MS = 1000;

/** Failures of accept that concern one client or one moment, not the listener. */
const PASSING = new Set(["EMFILE", "ENFILE", "ENOMEM", "ENOBUFS", "ECONNABORTED", "EPROTO"]);

/** Is told why accepting pauses. */
export type OnPause = (error: Error, isFirst: boolean) => void;

/** So long our own connection may still be found when the time is over. */
const LATE_MS = 100;

/** An episode of failures has ended when accepting has worked for so long. */
const EPISODE_MS = 2 * LAST_PAUSE_MS;

/** A listener, its path and its lock. */
export class ListeningSocket {
  readonly addr: UnixAddr;
  /** Whether the last attempt to accept failed, and the next one waits. */
  pausing = false;
  readonly #operation: string;
  readonly #claim: PathClaim | undefined;
  readonly #listener: Deno.UnixListener;
  /** Who was accepted before anybody asked, and an accept that was begun. */
  readonly #early: Candidate[];
  #begun: Promise<Deno.UnixConn> | undefined;
  #closed: Promise<void> | undefined;
  #accepting: Promise<unknown> = Promise.resolve();
  #wake = new AbortController();
  #lastFailure = -Infinity;
  /** While draining: looks whether a connection that was accepted is our own. */
  #recognise: ((candidate: Candidate, conn: SocketConnection) => void) | undefined;

  private constructor(
    operation: string,
    path: string,
    listener: Deno.UnixListener,
    claim?: PathClaim,
    own?: SelfConnection,
  ) {
    this.addr = { transport: "unix", path };
    this.#operation = operation;
    this.#listener = listener;
    this.#claim = claim;
    this.#early = own?.later ?? [];
    this.#begun = own?.accepting;
    // Its failure is for who asks for it.
    this.#begun?.catch(() => {});
  }

  /** Checks the options, claims the path, and listens; the mode is set when it resolves. */
  static async open(
    options: ListeningOptions,
    operation: "listen" | "serve",
  ): Promise<ListeningSocket> {
    const { path: given, signal, ...claimOptions } = options;
    checkSignal(signal);
    const checked = claimDefaults(claimOptions);
    const path = resolveSocketPath(given);
    if (path.startsWith("\0")) return ListeningSocket.#openAbstract(path, claimOptions, operation);
    requireClaimable(operation, path, claimOptions);
    signal?.throwIfAborted();
    const claim = await PathClaim.acquire(path, checked, operation, signal);
    try {
      signal?.throwIfAborted();
      // Strangers may stand in the backlog before a connection of our own that is made after the mode
      // is set: they are dropped. Who stands behind it may stay.
      let own: SelfConnection | undefined;
      const listener = await claim.bind(
        () => Deno.listen({ transport: "unix", path: claim.bindPath }),
        async (bound) => {
          own = await connectToSelf(bound, claim.bindPath);
          own.accepted.close();
          own.connected.close();
        },
      );
      const socket = new ListeningSocket(operation, path, listener, claim, own);
      if (!signal?.aborted) return socket;
      await socket.close();
      throw signal.reason;
    } catch (error) {
      claim.release();
      throw error;
    }
  }

  static #openAbstract(
    name: string,
    claimOptions: Partial<PathClaimOptions>,
    operation: "listen" | "serve",
  ): ListeningSocket {
    // An abstract name has neither mode nor owner nor file: refuse to promise any.
    if (Object.values(claimOptions).some((value) => value !== undefined)) {
      requireClaimable(operation, name, {});
    }
    requireRuntime();
    const fields = { operation, path: name };
    requireGrants(attempt(operation, name), { net: true }, fields);
    try {
      const listener = Deno.listen({ transport: "unix", path: name });
      return new ListeningSocket(operation, name, listener);
    } catch (error) {
      if (codeOf(error) === "EADDRINUSE") {
        throw new SocketInUse(
          `${
            attempt(operation, name)
          }: it is in use. Stop that program first, or choose another name`,
          { ...fields, cause: error },
        );
      }
      throw systemError(attempt(operation, name), error, fields);
    }
  }

  /**
   * Accepts one connection. One call at a time.
   *
   * @param onPause Is told each failure that passes, and whether it is the first one of its episode.
   * @param timeouts How long a read of the connection may wait.
   */
  accept(
    onPause?: OnPause,
    timeouts?: Pick<SocketConnectionOptions, "idleTimeout" | "firstByteTimeout">,
  ): Promise<SocketConnection> {
    const accepted = this.#accept(onPause);
    this.#accepting = accepted.catch(() => {});
    return accepted.then(({ conn, aside }) => {
      if (this.#recognise !== undefined) aside ??= readSome(conn, SECRET_SIZE);
      const wrapped = new SocketConnection(conn, {
        localAddr: this.addr,
        remoteAddr: { transport: "unix", path: conn.remoteAddr.path },
        ...(aside !== undefined && { aside }),
        ...timeouts,
      });
      if (aside !== undefined) this.#recognise?.({ conn, aside }, wrapped);
      return wrapped;
    });
  }

  async #accept(
    onPause?: OnPause,
  ): Promise<Pick<Candidate, "conn"> & Partial<Candidate>> {
    for (let pause = FIRST_PAUSE_MS;; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
      try {
        if (this.#closed !== undefined) throw this.#closedError();
        const early = this.#early.shift();
        if (early !== undefined) return early;
        const begun = this.#begun ?? this.#listener.accept();
        this.#begun = undefined;
        return { conn: await begun };
      } catch (error) {
        if (this.#closed !== undefined) throw this.#closedError();
        const { path } = this.addr;
        const failure = systemError(
          attempt("accept", path as string),
          error,
          { operation: "accept", path },
        );
        if (!PASSING.has(codeOf(error) ?? "")) throw failure;
        const now = performance.now();
        this.pausing = true;
        onPause?.(failure, now - this.#lastFailure > EPISODE_MS);
        this.#lastFailure = now;
        this.#wake = new AbortController();
        await delay(pause, this.#wake.signal).catch(() => {});
        this.pausing = false;
      }
    }
  }

  /** Ends the pause of an accept that failed: there may be a free descriptor now. */
  wake(): void {
    this.#wake.abort();
  }

  /**
   * Gives up the name, and resolves when everyone who had connected by then has been accepted.
   *
   * Nothing else tells that a backlog is empty: an accept may stay pending for dozens of turns while
   * somebody waits, because a poll of the runtime handles a limited number of events and other sockets
   * of the process may take them all. The backlog is a queue, so a connection of our own, made in the
   * instant before the name is removed, proves it when it is accepted.
   *
   * @param signal Ends the waiting.
   * @returns Our own connection, which is not to be served; `undefined` where there was none.
   */
  async drain(signal: AbortSignal): Promise<SocketConnection | undefined> {
    const path = this.addr.path as string;
    const secret = crypto.getRandomValues(new Uint8Array(SECRET_SIZE));
    const { promise: found, resolve: find } = Promise.withResolvers<SocketConnection | undefined>();
    this.#recognise = ({ aside }, conn) => {
      aside.then((bytes) => isSame(bytes, secret) && find(conn));
    };
    try {
      const hasName = this.#claim?.hasName() ?? true;
      // The connection reaches the kernel before the name is removed: there is only an instant between.
      const connecting = hasName ? Deno.connect({ transport: "unix", path }) : undefined;
      connecting?.catch(() => {});
      this.#claim?.removeName();
      using own = await connecting;
      if (own === undefined) return undefined;
      await own.write(secret);
      // It is in the backlog: also when time is over it should be found, lest it count as somebody.
      let timer: ReturnType<typeof setTimeout> | undefined;
      const stop = () => timer = setTimeout(() => find(undefined), LATE_MS);
      signal.addEventListener("abort", stop, { once: true });
      if (signal.aborted) stop();
      const conn = await found;
      signal.removeEventListener("abort", stop);
      clearTimeout(timer);
      return conn;
    } catch {
      // The backlog is full, there is no descriptor left, or the name cannot be removed: close() will
      // say so.
      return undefined;
    } finally {
      this.#recognise = undefined;
    }
  }

  /** Closes the listener and gives the path back. Whoever still waits in the backlog is reset. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.wake();
    for (const { conn } of this.#early) conn.close();
    const claim = this.#claim;
    let closed = false;
    const closeListener = async () => {
      if (closed) return;
      closed = true;
      this.#listener.close();
      await this.#accepting;
      await this.#begun?.then((conn) => conn.close(), () => {});
    };
    // Whatever cannot be removed, the listener is closed.
    const failures: unknown[] = [];
    for (
      const step of [
        () => claim?.removeName(),
        () => claim?.shelter(closeListener),
        closeListener,
        () => claim?.release(),
      ]
    ) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw claim?.failureToLeave(failures[0]);
  }

  ref(): void {
    this.#listener.ref();
  }

  unref(): void {
    this.#listener.unref();
  }

  #closedError(): Error {
    const { path } = this.addr;
    const cause = new Deno.errors.BadResource("Listener has been closed");
    return systemError(
      attempt("accept", path as string),
      cause,
      { operation: "accept", path },
      "the listener was closed",
    );
  }
}
