/** TCP ports, with or without TLS: connecting to one, and serving one. */

import { Acceptor } from "../../_internal/accept/acceptor.ts";
import { delay, onAbort } from "../../_internal/base/event_loop.ts";
import { explained, failure } from "../text/failure.ts";
import type { ByteStream } from "./byte_stream.ts";
import { type NetworkEndpoint, shownEndpoint } from "../parse/endpoint.ts";
import { reporter } from "./reporter.ts";
import { SilenceLimit } from "./silence_limit.ts";
import { TcpConnection } from "./tcp_connection.ts";
import type { Identity } from "./tls.ts";

/** The default of `connect()`. */
export const TIMEOUT_MS = 5000;
/** The pauses, in milliseconds, between attempts. They double. */
const FIRST_PAUSE_MS = 2;
const LAST_PAUSE_MS = 100;

/** How to connect to a port. */
export interface ConnectNetworkOptions {
  identity: Identity;
  /** How long, in milliseconds, to retry. With 0, there is one attempt. */
  timeout: number;
  /** Closes the connection at once. */
  cut: AbortSignal;
}

/**
 * Connects to a port, retrying while it refuses. With TLS, the certificate is checked before this
 * resolves.
 *
 * @throws {Deno.errors.TimedOut} when the time is over.
 */
export function connectNetwork(
  side: NetworkEndpoint,
  { identity, timeout, cut }: ConnectNetworkOptions,
): Promise<ByteStream> {
  return explained(`Cannot connect to ${shownEndpoint(side)}`, async () => {
    using limit = handshakeLimit(timeout);
    const conn = new TcpConnection(await dial(side, timeout !== 0, limit.signal, cut), cut);
    if (side.scheme === "tcp") return conn;
    const { encrypted } = await import("./tls.ts");
    return await encrypted(conn, identity, limit.signal, side.hostname);
  });
}

/** Starts the limit on the handshakes of a new connection. */
function handshakeLimit(timeout: number): SilenceLimit {
  return new SilenceLimit(timeout || TIMEOUT_MS, "no answer within").restart();
}

async function dial(
  { hostname, port }: NetworkEndpoint,
  retries: boolean,
  late: AbortSignal,
  cut: AbortSignal,
): Promise<Deno.TcpConn> {
  for (let pause = FIRST_PAUSE_MS;; pause = Math.min(2 * pause, LAST_PAUSE_MS)) {
    const opening = Deno.connect({ hostname, port });
    try {
      return await abortable(opening, late);
    } catch (error) {
      // It may still open later.
      opening.then((conn) => conn.close(), () => {});
      if (!(error instanceof Deno.errors.ConnectionRefused) || !retries || cut.aborted) throw error;
    }
    await delay(pause, late);
  }
}

/** Settles as a promise does, or rejects when the signal aborts. */
function abortable<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, () => reject(signal.reason));
    work.then(resolve, reject).finally(forget);
  });
}

/** How long, in milliseconds, open connections may take to finish: the default of `shutdown()`. */
const SHUTDOWN_MS = 5000;

/** Options of {@linkcode serveNetwork}. */
export interface ServeNetworkOptions {
  identity: Identity;
  /** How long, in milliseconds, a TLS handshake may take. */
  timeout: number;
  /** The maximum number of connections at a time; no limit by default. */
  max?: number | undefined;
  /** Shuts the server down. Open connections have 5 seconds to finish. */
  signal: AbortSignal;
  onListen: (port: number) => void;
  /** Reports whether a failure is only that a client left. */
  hasLeft: (error: unknown) => boolean;
}

/** Serves a port until the signal aborts, as `serve()` does a path. */
export async function serveNetwork(
  side: NetworkEndpoint,
  { identity, timeout, max = Infinity, signal, onListen, hasLeft }: ServeNetworkOptions,
  handler: (conn: ByteStream, signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  // Loaded only if it is used.
  const tls = side.scheme === "tls" ? await import("./tls.ts") : undefined;
  const listener = await explained(`Cannot listen on ${shownEndpoint(side)}`, () => {
    tls?.checkIdentity(identity);
    return Deno.listen({ hostname: side.hostname, port: side.port });
  });
  const { port } = listener.addr as Deno.NetAddr;
  const address = shownEndpoint({ ...side, port });
  const acceptor = new Acceptor(listener, {
    fail: (cause) => failure(`Cannot accept on ${address}`, cause as Error),
  });
  acceptor.onFailure = (error, isFirst) => {
    if (isFirst) reporter.report(error);
  };
  const cut = new AbortController();
  const running = new Set<Promise<void>>();
  const stopped = new Promise<void>((resolve) => onAbort(signal, resolve));
  stopped.then(() => {
    reporter.ending();
    acceptor.close();
  });
  onListen(port);
  try {
    while (!signal.aborted) {
      if (running.size >= max) {
        // The other clients wait in the backlog.
        await Promise.race([stopped, ...running]);
        continue;
      }
      const served = serveOne(await acceptor.accept()).finally(() => {
        running.delete(served);
        acceptor.wake();
      });
      running.add(served);
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    await acceptor.close();
    const timer = setTimeout(() => cut.abort(), SHUTDOWN_MS);
    await Promise.all(running);
    clearTimeout(timer);
  }

  async function serveOne(accepted: Deno.TcpConn): Promise<void> {
    const { hostname, port } = accepted.remoteAddr as Deno.NetAddr;
    const tcp = new TcpConnection(accepted, cut.signal);
    let conn: ByteStream = tcp;
    try {
      if (tls !== undefined) {
        using limit = handshakeLimit(timeout);
        conn = await explained(
          `Cannot serve ${hostname} port ${port} on ${address}`,
          () => tls.encrypted(tcp, identity, limit.signal),
        );
      }
      await handler(conn, cut.signal);
    } catch (error) {
      tcp.close();
      if (hasLeft(error)) reporter.reportLeft(error);
      else if (!cut.signal.aborted) reporter.report(error);
    }
    conn.close();
    await tcp.closed;
  }
}
