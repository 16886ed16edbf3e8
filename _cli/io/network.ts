/** Connects to a TCP port, with or without TLS. */

import { delay, onAbort } from "../../_internal/base/event_loop.ts";
import { explained } from "../text/failure.ts";
import type { ByteStream } from "./byte_stream.ts";
import { type NetworkEndpoint, shownEndpoint } from "../parse/endpoint.ts";
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
export function handshakeLimit(timeout: number): SilenceLimit {
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
