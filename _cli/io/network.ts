/** Connections of TCP and TLS, in the manner of those of this package. */

import { Acceptor } from "../../_internal/accept/acceptor.ts";
import { delay } from "../../_internal/base/event_loop.ts";
import { SilenceTimer } from "../../_internal/base/silence.ts";
import type { Connection } from "../../connection.ts";
import { type NetworkEndpoint, shownEndpoint } from "./endpoint.ts";
import { failure } from "../text/failure.ts";
import type { Role } from "./tls.ts";

/** What passing on takes of a connection: that of a network has no more. */
export type ByteStream = Pick<Connection, "read" | "write" | "closeWrite" | "close">;

/** The certificates and keys of TLS, in PEM. */
export interface Identity {
  /** Authorities to trust beside those that Deno trusts. */
  readonly caCerts?: string[];
  readonly cert?: string;
  readonly key?: string;
}

/** How long those who are connected have to finish, as with a server on a path. */
const SHUTDOWN_MS = 5000;
/** How long a peer may be silent while what it still sends is dropped, and how long that lasts at most. */
const LINGER_SILENCE_MS = 5000;
const LINGER_MS = 30_000;
/** The pauses between attempts double from the first to the last. */
const FIRST_PAUSE_MS = 2;
const LAST_PAUSE_MS = 100;

/**
 * A connection of TCP.
 *
 * Where a peer is still sending, closing would reset the connection, and the kernel would throw away what
 * the peer has not read. So what it sends is read and dropped first, up to its end.
 */
class NetworkConnection implements ByteStream {
  readonly #conn: Deno.TcpConn;
  readonly #cut: AbortSignal;
  readonly #resolveClosed: () => void;
  #readEnded = false;
  #writeEnded = false;
  #isClosing = false;
  #isClosed = false;
  /** Resolves when the descriptor is closed. */
  readonly closed: Promise<void>;

  /** @param cut Closes it at once. */
  constructor(conn: Deno.TcpConn, cut: AbortSignal) {
    this.#conn = conn;
    this.#cut = cut;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.closed = promise;
    this.#resolveClosed = resolve;
    cut.addEventListener("abort", this.#dispose);
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    try {
      const count = await this.#conn.read(buffer);
      if (count === null) this.#readEnded = true;
      return count;
    } catch (error) {
      this.#readEnded = true;
      throw error;
    }
  }

  async write(data: Uint8Array): Promise<number> {
    let sent = 0;
    try {
      // Deno writes as much as the kernel takes.
      while (sent < data.length) sent += await this.#conn.write(data.subarray(sent));
    } catch (error) {
      throw Object.assign(error as Error, { unsent: data.subarray(sent) });
    }
    return sent;
  }

  async closeWrite(): Promise<void> {
    this.#writeEnded = true;
    try {
      await this.#conn.closeWrite();
    } catch (error) {
      // The peer has gone, and with it the direction.
      if (!(error instanceof Deno.errors.NotConnected)) throw error;
    }
  }

  close(): void {
    if (this.#isClosing) return;
    this.#isClosing = true;
    if (this.#writeEnded && !this.#readEnded && !this.#cut.aborted) this.#linger();
    else this.#dispose();
  }

  async #linger(): Promise<void> {
    const silence = new SilenceTimer(this.#dispose);
    const end = performance.now() + LINGER_MS;
    const buffer = new Uint8Array(16 * 1024);
    try {
      do silence.start(LINGER_SILENCE_MS); while (
        await this.#conn.read(buffer) !== null && performance.now() < end
      );
    } catch {
      // It was reset, or closed.
    }
    silence.stop();
    this.#dispose();
  }

  readonly #dispose = () => {
    if (this.#isClosed) return;
    this.#isClosed = this.#isClosing = true;
    this.#cut.removeEventListener("abort", this.#dispose);
    this.#conn[Symbol.dispose]();
    this.#resolveClosed();
  };
}

/** How to connect to a port. */
export interface ConnectNetworkOptions {
  identity: Identity;
  /** How long to try, in milliseconds. With 0 there is one attempt, as long as the system tries. */
  timeout: number;
  /** Closes the connection at once. */
  cut: AbortSignal;
}

/**
 * Connects to a port, within a time: tries again while nobody listens. With TLS the certificate has been
 * checked when it resolves.
 *
 * @throws {Deno.errors.TimedOut} when the time is over.
 */
export async function connectNetwork(
  { scheme, hostname, port }: NetworkEndpoint,
  { identity, timeout, cut }: ConnectNetworkOptions,
): Promise<ByteStream> {
  using late = new Late(timeout === 0 ? TIMEOUT_MS : timeout);
  const conn = new NetworkConnection(await dial(), cut);
  if (scheme === "tcp") return conn;
  return await late.race(
    startTls(conn, identity, { isServer: false, hostname }, late.signal),
  );

  async function dial(): Promise<Deno.TcpConn> {
    for (let pause = FIRST_PAUSE_MS;; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
      const opening = Deno.connect({ hostname, port });
      try {
        return await late.race(opening);
      } catch (error) {
        // One that comes later is closed.
        opening.then((conn) => conn.close(), () => {});
        if (!(error instanceof Deno.errors.ConnectionRefused) || timeout === 0) throw error;
        if (late.signal.aborted || cut.aborted) throw error;
      }
      await delay(pause, late.signal).catch(() => {});
    }
  }
}

async function startTls(
  conn: NetworkConnection,
  identity: Identity,
  role: Role,
  late: AbortSignal,
): Promise<ByteStream> {
  // Loaded only where it is used.
  const { encrypted } = await import("./tls.ts");
  return await encrypted(conn, identity, role, late);
}

/** As long as `connect()` tries. */
export const TIMEOUT_MS = 5000;

/** A limit on what a peer does. */
class Late implements Disposable {
  readonly #abort = new AbortController();
  readonly #timer: SilenceTimer;
  readonly #over: Promise<never>;
  readonly signal: AbortSignal = this.#abort.signal;

  constructor(ms: number) {
    this.#over = new Promise((_, reject) => {
      this.signal.addEventListener("abort", () => reject(this.signal.reason));
    });
    this.#over.catch(() => {});
    this.#timer = new SilenceTimer(() => {
      this.#abort.abort(new Deno.errors.TimedOut(`no answer within ${ms / 1000} s`));
    });
    this.#timer.start(ms);
  }

  /** Settles as the work does, or rejects when the time is over. */
  race<T>(work: Promise<T>): Promise<T> {
    work.catch(() => {});
    return Promise.race([work, this.#over]);
  }

  [Symbol.dispose](): void {
    this.#timer.stop();
  }
}

/** Options of {@linkcode serveNetwork}. */
export interface ServeNetworkOptions {
  identity: Identity;
  /** How long a client has for its part of the TLS handshake, in milliseconds. */
  timeout: number;
  /** How many connections are served at a time; no limit by default. */
  max?: number;
  /** Ends the server: who is connected has 5 seconds to finish. */
  signal: AbortSignal;
  onListen: (port: number) => void;
  onError: (error: unknown) => void;
}

/** Serves a port, until the signal: as `serve()` does a path. */
export async function serveNetwork(
  side: NetworkEndpoint,
  { identity, timeout, max = Infinity, signal, onListen, onError }: ServeNetworkOptions,
  handler: (conn: ByteStream, signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  if (side.scheme === "tls") {
    try {
      (await import("./tls.ts")).checkIdentity(identity);
    } catch (error) {
      throw failure(`Cannot listen on ${shownEndpoint(side)}`, error as Error);
    }
  }
  const listener = listen(side);
  const cut = new AbortController();
  const running = new Set<Promise<void>>();
  const stopped = new Promise<void>((resolve) => {
    signal.addEventListener("abort", () => resolve());
  });
  const { port } = listener.addr as Deno.NetAddr;
  const address = shownEndpoint({ ...side, port });
  const acceptor = new Acceptor(listener, {
    fail: (cause) => failure(`Cannot accept on ${address}`, cause as Error),
  });
  acceptor.onFailure = (error, isFirst) => {
    if (isFirst) onError(error);
  };
  signal.addEventListener("abort", () => acceptor.close());
  onListen(port);

  let lost: unknown;
  while (!signal.aborted && lost === undefined) {
    if (running.size >= max) {
      // The others wait in the backlog.
      await Promise.race([stopped, ...running]);
      continue;
    }
    try {
      const conn = await acceptor.accept();
      const served = serveOne(conn).finally(() => {
        running.delete(served);
        acceptor.wake();
      });
      running.add(served);
    } catch (error) {
      if (!signal.aborted) lost = error;
    }
  }
  await acceptor.close();
  const timer = setTimeout(() => cut.abort(), SHUTDOWN_MS);
  await Promise.all(running);
  clearTimeout(timer);
  if (lost !== undefined) throw lost;

  async function serveOne(accepted: Deno.TcpConn): Promise<void> {
    const { hostname, port } = accepted.remoteAddr as Deno.NetAddr;
    const tcp = new NetworkConnection(accepted, cut.signal);
    try {
      const conn = side.scheme === "tcp" ? tcp : await secured(tcp).catch((error) => {
        throw failure(`Cannot serve ${hostname} port ${port} on ${address}`, error as Error);
      });
      try {
        await handler(conn, cut.signal);
      } finally {
        conn.close();
      }
    } catch (error) {
      tcp.close();
      if (!cut.signal.aborted) onError(error);
    }
    await tcp.closed;
  }

  async function secured(conn: NetworkConnection): Promise<ByteStream> {
    using late = new Late(timeout === 0 ? TIMEOUT_MS : timeout);
    return await late.race(startTls(conn, identity, { isServer: true }, late.signal));
  }
}

function listen(side: NetworkEndpoint): Deno.TcpListener {
  const { hostname, port } = side;
  try {
    return Deno.listen({ hostname, port });
  } catch (error) {
    throw failure(`Cannot listen on ${shownEndpoint(side)}`, error as Error);
  }
}
