/**
 * A listening socket on an owned path: `listen()` and `serve()` are thin layers over it.
 *
 * Closing has an order: name, listener with its pending accept, lock. If the lock were released
 * before that accept has rejected, a successor could bind a file that Deno then removes.
 */

import type { UnixAddr } from "../../address.ts";
import { AcceptQueue, type Bound } from "../accept/accept_queue.ts";
import { type AcceptedSocket, Acceptor, type Listening } from "../accept/acceptor.ts";
import { contextAt, type ContextOf, ErrorContext } from "../base/error_context.ts";
import { onAbort } from "../base/event_loop.ts";
import {
  descriptorSockets,
  type Listen,
  listening,
  type NativeOptions,
} from "../connection/native_slot.ts";
import { SocketConnection, type Timeouts } from "../connection/socket_connection.ts";
import { FdListener } from "../descriptor/fd_listener.ts";
import { failureToBind } from "../path/abstract_name.ts";
import type { ListenPlan } from "../path/claim_options.ts";
import { OwnedPath } from "../path/owned_path.ts";
import { PathWatch } from "../path/watch.ts";
import { bind } from "./bind.ts";
import { Drain } from "./drain.ts";
import { Healer } from "./heal.ts";
import type { Reporter } from "./reporter.ts";

/** The address of all clients that have no name, which is most of them. */
const NAMELESS_CLIENT: UnixAddr = Object.freeze({ transport: "unix", path: null });

/** The listener or the server over a listening socket. */
export interface SocketUser {
  /** Ends it, because the signal has aborted. */
  end(): Promise<unknown>;
  /** Ends it, because a successor has taken over the path. */
  leave(): Promise<unknown>;
  /** Called when an attempt to accept failed, and the next one may wait. */
  onAcceptFailure?(): void;
}

/** A listener, its path and its lock. */
export class ListeningSocket {
  readonly addr: UnixAddr;
  /** Makes the errors of each operation. */
  readonly contextOf: ContextOf;
  /** Its clients, accepted one by one. */
  readonly queue: AcceptQueue;
  /** Calls the callbacks of its user. */
  readonly reporter: Reporter;
  /** Called with each connection that was accepted. */
  prepare: (conn: SocketConnection) => void = () => {};
  /** Whether a successor has taken over the path. */
  isReplaced = false;
  /** The owned path; `undefined` for an abstract name, and at a descriptor. */
  readonly #owned: OwnedPath | undefined;
  /** Aborts when the socket closes. */
  readonly #closing = new AbortController();
  #closed: Promise<void> | undefined;
  /** Ends the accepting of a listener at a descriptor. */
  #retire = async () => {};
  /** Ends at the latest when the listener closes. */
  #retiring: Promise<void> | undefined;
  #watch: PathWatch | undefined;
  #healer: Healer | undefined;
  #drain: Drain | undefined;
  /**
   * Resolves when the backlog is empty, or left to the other processes that have the descriptor. If
   * it is `undefined`, {@linkcode Drain} finds the end of the backlog.
   */
  #backlogLeft: Promise<void> | undefined;
  /** Listens on the path again; `undefined` where that is not possible. */
  readonly #listen: Listen | undefined;
  readonly #signal: AbortSignal | undefined;
  #stopListeningToSignal = () => {};

  private constructor(
    contextOf: ContextOf,
    bound: Bound,
    reporter: Reporter,
    signal: AbortSignal | undefined,
    listen?: Listen,
    owned?: OwnedPath,
  ) {
    const context = contextOf("accept");
    this.addr = { transport: "unix", path: context.path };
    this.contextOf = contextOf;
    this.queue = new AcceptQueue(context, bound);
    this.reporter = reporter;
    this.#signal = signal;
    this.#listen = listen;
    this.#owned = owned;
  }

  /**
   * Acquires the path and listens. The socket has its mode and owner when this resolves.
   *
   * @param plan What to do.
   * @param reporter Reports what happens to the path, and failures.
   * @param native What the connections need.
   */
  static async open(
    plan: ListenPlan,
    reporter: Reporter,
    native: NativeOptions,
  ): Promise<ListeningSocket> {
    const { context, signal } = plan;
    const listen = listening(context, native);
    const contextOf = (operation: string) => new ErrorContext(operation, context.path);
    if (plan.owned === undefined) {
      const bound = bindAbstract(context, listen);
      return new ListeningSocket(contextOf, bound, reporter, signal);
    }
    const owned = await OwnedPath.acquire(context, plan.owned, signal);
    try {
      signal?.throwIfAborted();
      const bound = await bind(owned, listen);
      const socket = new ListeningSocket(contextOf, bound, reporter, signal, listen, owned);
      if (!signal?.aborted) return socket;
      await socket.close();
      throw signal.reason;
    } catch (error) {
      await owned.cleanUpAfter(error, () => owned.release());
      throw error;
    }
  }

  /**
   * Listens at a descriptor that this process was given.
   *
   * @param operation The call, for the errors of the start.
   */
  static openGiven(
    operation: "listen" | "serve",
    fd: number,
    signal: AbortSignal | undefined,
    reporter: Reporter,
    native: NativeOptions,
  ): ListeningSocket {
    const contextOf = contextAt(fd);
    const context = contextOf(operation);
    const descriptors = descriptorSockets(context, native);
    const listener = descriptors?.listenAt(context, fd) ?? FdListener.open(context, fd);
    const acceptor = new Acceptor<AcceptedSocket>(listener, contextOf("accept"));
    const socket = new ListeningSocket(contextOf, { acceptor }, reporter, signal);
    if (listener instanceof FdListener) socket.#retire = () => listener.retire();
    return socket;
  }

  /**
   * Accepts from a listener at a descriptor that other processes accept from, too.
   *
   * @param backlogLeft Resolves when a drain need not accept any more.
   */
  static openShared(
    contextOf: ContextOf<null>,
    listener: Listening<AcceptedSocket> & { retire(): Promise<void> },
    reporter: Reporter,
    backlogLeft: Promise<void>,
  ): ListeningSocket {
    const acceptor = new Acceptor<AcceptedSocket>(listener, contextOf("accept"));
    const socket = new ListeningSocket(contextOf, { acceptor }, reporter, undefined);
    socket.#backlogLeft = backlogLeft;
    socket.#retire = () => listener.retire();
    return socket;
  }

  /** Watches the path, and ends its user when the signal aborts or a successor has the path. */
  start(user: SocketUser): void {
    const { reporter } = this;
    this.queue.onFailure = (error, isFirst) => {
      if (isFirst) reporter.report(error);
      user.onAcceptFailure?.();
    };
    this.#stopListeningToSignal = onAbort(this.#signal, () => {
      user.end().catch(reporter.report);
    });
    const owned = this.#owned;
    if (owned === undefined) return;
    if (this.#listen !== undefined && owned.bindPath !== owned.path) {
      const { signal } = this.#closing;
      this.#healer = new Healer(owned, this.queue, reporter, this.#listen, signal);
    }
    const watch = new PathWatch(owned, {
      replaced: () => {
        this.isReplaced = true;
        this.#stopListeningToSignal();
        reporter.reportReplaced();
        user.leave().catch(reporter.report);
      },
      lost: (isFirst) => {
        this.#healer?.heal(isFirst, () => watch.renew());
        if (this.#healer === undefined && isFirst) reporter.reportLoss(owned.path, false);
      },
    });
    this.#watch = watch;
  }

  /**
   * Accepts one connection. Several calls may wait: the first one is served first.
   *
   * @param timeouts How long a read or a write of the connection may wait.
   */
  accept(timeouts?: Timeouts): Promise<SocketConnection> {
    return this.queue.next().then(({ conn, readAhead = this.#drain?.readAhead(conn) }) => {
      const wrapped = new SocketConnection(conn, {
        ...timeouts,
        localAddr: this.addr,
        remoteAddr: addressOf("remoteAddr" in conn ? conn.remoteAddr.path : null),
        readAhead,
      });
      this.prepare(wrapped);
      if (readAhead !== undefined) this.#drain?.inspect(readAhead, wrapped);
      return wrapped;
    });
  }

  /** Removes the name, and resolves when the backlog is empty: see {@linkcode Drain.run}. */
  async drain(
    signal: AbortSignal,
    connections: () => number,
    onMarker: (marker: SocketConnection | undefined) => void,
  ): Promise<void> {
    const aborted = new Promise<void>((resolve) => onAbort(signal, resolve));
    this.#stopListeningToSignal();
    this.#watch?.stop();
    if (this.#healer?.healing) await Promise.race([this.#healer.healing, aborted]);
    if (this.#backlogLeft !== undefined) {
      // No connection is a marker.
      onMarker(undefined);
      await Promise.race([this.#backlogLeft, aborted]);
    } else {
      this.#drain = new Drain(this.addr.path, this.#owned);
      await this.#drain.run(this.queue, signal, connections, onMarker);
    }
    this.#retiring = this.#retire();
    await Promise.race([this.#retiring, aborted]);
    // The clients of its old listeners had connected before the path was lost.
    if (this.#healer?.retiring) await Promise.race([this.#healer.retiring, aborted]);
  }

  /**
   * Empties the backlog after a takeover, and closes. `accept` still returns the clients from it.
   */
  async leave(): Promise<void> {
    await this.queue.empty(this.queue.current, this.#closing.signal);
    await (this.#closed ??= this.#close());
  }

  /** Closes the listener and releases the path. Resets the clients in the backlog. */
  close(): Promise<void> {
    this.queue.dropAll();
    return this.#closed ??= this.#close();
  }

  async #close(): Promise<void> {
    this.#stopListeningToSignal();
    this.#watch?.stop();
    this.#closing.abort();
    this.queue.close();
    // Nothing is awaited without need: the name goes at once.
    if (this.#healer?.healing) await this.#healer.healing;
    if (this.#healer?.retiring) await this.#healer.retiring;
    const owned = this.#owned;
    const locking = owned?.publishLockToLeave();
    const publishLock = locking instanceof Promise ? await locking : locking;
    const closeListener = () => this.queue.current.close();
    const steps = [
      () => owned?.removeName(publishLock),
      () => owned?.moveAside(closeListener, publishLock),
      closeListener,
      () => this.#retiring,
      () => owned?.release(publishLock),
      () => publishLock?.release(),
    ];
    // Each step runs, also after one that failed.
    const failures: unknown[] = [];
    for (const step of steps) {
      try {
        await step();
      } catch (error) {
        failures.push(error);
      }
    }
    if (failures.length > 0) throw owned?.failureToLeave(failures[0]);
  }
}

function addressOf(path: string | null): UnixAddr {
  return path === null ? NAMELESS_CLIENT : { transport: "unix", path };
}

/** Listens on an abstract name. */
function bindAbstract(context: ErrorContext, listen: Listen): Bound {
  const { path } = context;
  try {
    const listener = listen(path);
    return { acceptor: new Acceptor(listener, new ErrorContext("accept", path)) };
  } catch (cause) {
    throw failureToBind(context, cause);
  }
}
