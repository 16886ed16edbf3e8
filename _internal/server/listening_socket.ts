/**
 * A listening socket on a path that is ours: what `listen()` and `serve()` are made of.
 *
 * - Closing is a sequence: name, listener, its pending accept, lock. A lock that is released before the
 *   pending accept has rejected lets a successor bind a file which Deno then removes.
 * - The path is watched. A path that is lost can be bound again: then there are two listeners, until
 *   nobody comes any more to the one that has no name.
 */

import { resolveSocketPath, type UnixAddr } from "../../address.ts";
import { SocketInUse } from "../../errors.ts";
import { AcceptQueue } from "../accept/accept_queue.ts";
import { Acceptor, explainAccept, type OnFailure } from "../accept/acceptor.ts";
import { claimDefaults, requireClaimable } from "../path/claim_options.ts";
import { onAbort } from "../base/event_loop.ts";
import { lstat } from "../base/file.ts";
import { requireGrants } from "../base/deno_permissions.ts";
import {
  checkEvents,
  type ListeningEvents,
  type ListeningOptions,
  type Loss,
} from "./listening_options.ts";
import { PathClaim } from "../path/owned_path.ts";
import { PathWatch } from "../path/watch.ts";
import { requireRuntime } from "../base/runtime.ts";
import {
  type Candidate,
  connectToSelf,
  isSame,
  readSome,
  SECRET_SIZE,
  type SelfConnection,
} from "../accept/marker.ts";
import { SocketConnection, type Timeouts } from "../connection/socket_connection.ts";
import { attempt, codeOf, failureToOwn } from "../base/failure.ts";

/** How long to look for our own connection once the deadline has passed. */
const LATE_MS = 100;

/** How many turns of the loop, and for how long, nobody must come before a backlog counts as empty. */
interface Silence {
  turns: number;
  ms: number;
}

/** Where a connection of our own marks the end of the backlog. */
const MARKED: Silence = { turns: 3, ms: 0 };
/** Where one does, and the name stays as long as the listener: others come all the time. */
const NAMED: Silence = { turns: 0, ms: 0 };
/** Where there could be none: the backlog was full, no descriptor was left, or the name was lost. */
const UNMARKED: Silence = { turns: 40, ms: 0 };
/**
 * Where a successor has the name. Nobody waits for that, so it may take as long as it likes. An
 * accept has been seen to be passed over for 302 turns while 1,600 pairs of sockets of the same process
 * kept it busy; a turn is then a few milliseconds.
 */
const NAMELESS: Silence = { turns: 1000, ms: 500 };

/** How long to wait before asking again whether the one who has our path is alive. */
const ASK_AGAIN_MS = 10_000;

/** A listener, its path and its lock. */
export class ListeningSocket {
  readonly addr: UnixAddr;
  readonly #claim: PathClaim | undefined;
  readonly #queue: AcceptQueue;
  #closed: Promise<void> | undefined;
  #watch: PathWatch | undefined;
  #events: ListeningEvents | undefined;
  /** Aborts when the socket is closed. */
  readonly #closing = new AbortController();
  #healing: Promise<void> | undefined;
  /** Settles when all listeners that have lost their name are closed. */
  #retiring: Promise<void> | undefined;
  /** When it may be asked again whether somebody is at the path that was lost. */
  #askAgainAt = -Infinity;
  #healFailed = false;
  /** What will show that the backlog is empty. */
  #silence = UNMARKED;
  /** While draining: looks whether a connection that was accepted is our own. */
  #recognise: ((candidate: Candidate, conn: SocketConnection) => void) | undefined;

  private constructor(
    path: string,
    acceptor: Acceptor,
    claim?: PathClaim,
    own?: SelfConnection,
  ) {
    this.addr = { transport: "unix", path };
    this.#claim = claim;
    this.#queue = new AcceptQueue(path, acceptor, own);
  }

  /** Whether the last attempt to accept failed, and the next one waits. */
  get pausing(): boolean {
    return this.#queue.current.pausing;
  }

  /** Whether it was closed, and not only its descriptor lost. */
  get isClosed(): boolean {
    return this.#queue.isClosed;
  }

  /** Checks the options, claims the path, and listens; the mode is set when it resolves. */
  static async open(
    options: ListeningOptions,
    operation: "listen" | "serve",
  ): Promise<ListeningSocket> {
    const { path: given, signal, ...claimOptions } = options;
    checkEvents(options);
    const checked = claimDefaults(claimOptions);
    const path = resolveSocketPath(given);
    if (path.startsWith("\0")) {
      return ListeningSocket.#openAbstract(path, claimOptions, operation, signal);
    }
    requireClaimable(operation, path, claimOptions);
    signal?.throwIfAborted();
    const claim = await PathClaim.acquire(path, checked, operation, signal);
    try {
      signal?.throwIfAborted();
      const { acceptor, own } = await bind(claim);
      const socket = new ListeningSocket(path, acceptor, claim, own);
      if (!signal?.aborted) return socket;
      await socket.close();
      throw signal.reason;
    } catch (error) {
      await claim.cleanUpAfter(error, () => claim.release());
      throw error;
    }
  }

  static #openAbstract(
    name: string,
    claimOptions: Omit<ListeningOptions, "path" | "signal">,
    operation: "listen" | "serve",
    signal: AbortSignal | undefined,
  ): ListeningSocket {
    // An abstract name has neither mode nor owner nor file: refuse to promise any.
    if (Object.values(claimOptions).some((value) => value !== undefined)) {
      requireClaimable(operation, name, {});
    }
    requireRuntime();
    const fields = { operation, path: name };
    requireGrants(attempt(operation, name), { net: true }, fields);
    signal?.throwIfAborted();
    try {
      const listener = Deno.listen({ transport: "unix", path: name });
      return new ListeningSocket(name, new Acceptor(listener, explainAccept(name)));
    } catch (error) {
      if (codeOf(error) === "EADDRINUSE") {
        throw new SocketInUse(
          `${
            attempt(operation, name)
          }: it is in use. Stop that program first, or choose another name`,
          { ...fields, cause: error },
        );
      }
      throw failureToOwn(fields, error);
    }
  }

  /**
   * Accepts one connection. One call at a time.
   *
   * @param onFailure Called at each failure that accepting survives, with whether it is the first one of
   * its episode.
   * @param timeouts How long a read or a write of the connection may wait.
   */
  accept(
    onFailure?: OnFailure,
    timeouts?: Timeouts,
  ): Promise<SocketConnection> {
    return this.#queue.next(onFailure).then(({ conn, aside }) => {
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

  /** Ends the pause of an accept that failed: there may be a free descriptor now. */
  wake(): void {
    this.#queue.wake();
  }

  /** Begins to look after the path. */
  watch(events: ListeningEvents): void {
    const claim = this.#claim;
    if (claim === undefined || this.#closed !== undefined) return;
    this.#events = events;
    this.#watch = new PathWatch(() => claim.look(), {
      replaced: events.onReplaced,
      lost: (isFirst) => {
        this.#healing ??= this.#heal(claim, isFirst).finally(() => this.#healing = undefined);
      },
    });
  }

  /** Tells that the path is lost, and binds it again where that is wanted and displaces nobody. */
  async #heal(claim: PathClaim, isFirst: boolean): Promise<void> {
    if (isFirst) {
      this.#askAgainAt = -Infinity;
      this.#healFailed = false;
    }
    if (performance.now() < this.#askAgainAt && lstat(claim.path) !== null) return;
    let isTold = !isFirst;
    const tell = (heals: boolean) => {
      if (!isTold) this.#tellLoss(heals);
      isTold = true;
    };
    try {
      using _turn = await claim.takeTurn(this.#closing.signal);
      const heals = await claim.canRebind(this.#closing.signal);
      if (heals === undefined) return;
      tell(heals);
      if (heals) await this.#bindAgain(claim);
      else if (lstat(claim.path) !== null) this.#askAgainAt = performance.now() + ASK_AGAIN_MS;
    } catch (error) {
      if (this.#closing.signal.aborted) return;
      tell(false);
      if (!this.#healFailed) this.#events?.onError(error);
      this.#healFailed = true;
    }
  }

  #tellLoss(heals: boolean): void {
    const path = this.addr.path as string;
    this.#events?.onPathLost({ path, found: whatIsAt(path), heals });
  }

  /**
   * Listens anew. The new socket is published before the old listener is closed: nobody has to wait
   * for the backlog of the old one, and closing it unlinks a name at which nothing is any more.
   */
  async #bindAgain(claim: PathClaim): Promise<void> {
    const { acceptor, own } = await bind(claim);
    this.#watch?.renew();
    const old = this.#queue.renew(acceptor, own);
    this.#retiring = this.#retire(claim, old, this.#retiring);
  }

  /** Closes a listener that has lost its name, when nobody comes to it any more. */
  async #retire(claim: PathClaim, old: Acceptor, before?: Promise<void>): Promise<void> {
    this.#queue.empty(old);
    await old.quiet(() => NAMELESS.turns, NAMELESS.ms, this.#closing.signal);
    await before;
    try {
      using turn = await claim.turnToLeave();
      await claim.shelter(() => old.close(), turn);
    } catch (error) {
      await old.close();
      this.#events?.onError(claim.failureToLeave(error));
    }
    this.#queue.forget(old);
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
    this.#watch?.stop();
    if (this.#healing !== undefined) await within(signal, this.#healing);
    const secret = crypto.getRandomValues(new Uint8Array(SECRET_SIZE));
    const { promise: found, resolve: find } = Promise.withResolvers<SocketConnection | undefined>();
    this.#recognise = ({ aside }, conn) => {
      aside.then((bytes) => isSame(bytes, secret) && find(conn));
    };
    try {
      using own = await this.#giveUpName(signal);
      if (own === undefined) return undefined;
      const lost = () => find(undefined);
      // Neither is awaited: a system that takes no byte must not outlast the deadline.
      own.write(secret).catch(lost);
      own.read(new Uint8Array(1)).then(lost, lost);
      // It is in the backlog. If it were not found there, even late, it would count as a client.
      let timer: ReturnType<typeof setTimeout> | undefined;
      const stop = onAbort(signal, () => timer = setTimeout(() => find(undefined), LATE_MS));
      const conn = await found;
      if (conn !== undefined) this.#silence = this.#claim === undefined ? NAMED : MARKED;
      stop();
      clearTimeout(timer);
      return conn;
    } catch {
      // The backlog is full, or there is no descriptor left.
      return undefined;
    } finally {
      this.#recognise = undefined;
    }
  }

  /**
   * Connects to the path, where it is still ours, and removes it in the next instant. Gives the
   * connection, which is in the backlog before the name is gone.
   */
  async #giveUpName(signal: AbortSignal): Promise<Deno.UnixConn | undefined> {
    const taking = this.#claim?.turnToLeave(signal);
    using _turn = taking instanceof Promise ? await taking : taking;
    let connecting: Promise<Deno.UnixConn> | undefined;
    if (this.#claim?.hasName() ?? true) {
      connecting = Deno.connect({ transport: "unix", path: this.addr.path as string });
      connecting.catch(() => {});
    } else if (this.#claim?.look() === "replaced") {
      this.#silence = NAMELESS;
    }
    try {
      this.#claim?.removeName();
    } catch {
      // close() tries it once more, and says so.
    }
    // Not awaited: the turn is given back first.
    return connecting;
  }

  /**
   * Resolves when the backlog counts as empty, after {@linkcode ListeningSocket.drain}: who came in the
   * instant between our own connection and the end of the name stands behind it. Somebody else accepts
   * meanwhile, without a pause.
   *
   * @param connections How many are open: they take a part of each turn.
   * @param signal Ends the waiting.
   */
  async quiet(connections: () => number, signal: AbortSignal): Promise<void> {
    const { turns, ms } = this.#silence;
    if (turns === 0) return;
    await this.#queue.current.quiet(() => turns + Math.ceil(connections() / 64), ms, signal);
    // Those who had connected before the path was lost.
    if (this.#retiring !== undefined) await within(signal, this.#retiring);
  }

  /**
   * Accepts everyone in the backlog of a listener that was replaced, and closes it. They are given to
   * whoever asks, also after that.
   */
  async leave(): Promise<void> {
    const { current } = this.#queue;
    this.#queue.empty(current);
    await current.quiet(() => NAMELESS.turns, NAMELESS.ms, this.#closing.signal);
    this.#closed ??= this.#close();
    await this.#closed;
  }

  /** Closes the listener and gives the path back. Whoever still waits in the backlog is reset. */
  close(): Promise<void> {
    this.#queue.abandon();
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#watch?.stop();
    this.#closing.abort();
    this.#queue.close();
    if (this.#healing !== undefined) await this.#healing;
    if (this.#retiring !== undefined) await this.#retiring;
    const claim = this.#claim;
    const taking = claim?.turnToLeave();
    const turn = taking instanceof Promise ? await taking : taking;
    const closeListener = () => this.#queue.current.close();
    // Whatever cannot be removed, the listener is closed.
    const failures: unknown[] = [];
    for (
      const step of [
        () => claim?.removeName(),
        () => claim?.shelter(closeListener, turn),
        closeListener,
        () => claim?.release(),
        () => turn?.[Symbol.dispose](),
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
    this.#queue.ref();
  }

  unref(): void {
    this.#queue.unref();
  }
}

/**
 * Binds a claimed path. Strangers may stand in the backlog before a connection of our own that is made
 * after the mode is set: they are dropped. Who stands behind it may stay.
 */
async function bind(
  claim: PathClaim,
): Promise<{ acceptor: Acceptor; own: SelfConnection | undefined }> {
  let own: SelfConnection | undefined;
  try {
    const listener = await claim.bind(
      () => Deno.listen({ transport: "unix", path: claim.bindPath }),
      async (bound) => {
        own = await connectToSelf(bound, claim.bindPath, claim.path);
        own.accepted.close();
        own.connected.close();
      },
    );
    return { acceptor: own?.acceptor ?? new Acceptor(listener, explainAccept(claim.path)), own };
  } catch (error) {
    own?.accepting.catch(() => {});
    await own?.acceptor.close();
    throw error;
  }
}

/** What is at a path that was lost; `"other"` also where its directory does not let us look. */
function whatIsAt(path: string): Loss["found"] {
  try {
    const there = lstat(path);
    return there === null ? "nothing" : there.isSocket ? "socket" : "other";
  } catch {
    return "other";
  }
}

/** Resolves when something is done, at the latest when the signal aborts. */
async function within(signal: AbortSignal, work: Promise<void>): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const stop = onAbort(signal, resolve);
  await Promise.race([work, promise]).finally(stop);
}
