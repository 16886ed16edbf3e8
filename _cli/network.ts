/** Connections of TCP and TLS, in the manner of those of this package. */

import { Acceptor } from "../_internal/acceptor.ts";
import type { Connection } from "../connection.ts";
import { type NetworkEndpoint, shownEndpoint } from "./endpoint.ts";
import { failure } from "./failure.ts";

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

class NetworkConnection implements ByteStream {
  readonly #conn: Deno.Conn;

  constructor(conn: Deno.TcpConn | Deno.TlsConn) {
    this.#conn = conn;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#conn.read(buffer);
  }

  async write(data: Uint8Array): Promise<number> {
    // Deno writes as much as the kernel takes.
    for (let sent = 0; sent < data.length;) sent += await this.#conn.write(data.subarray(sent));
    return data.length;
  }

  closeWrite(): Promise<void> {
    return this.#conn.closeWrite();
  }

  close(): void {
    this.#conn[Symbol.dispose]();
  }
}

/**
 * Connects to a port, within a time. With TLS the certificate has been checked when it resolves.
 *
 * @throws {Deno.errors.TimedOut} when the time is over.
 */
export async function connectNetwork(
  { scheme, hostname, port }: NetworkEndpoint,
  { caCerts, cert, key }: Identity,
  timeout: number,
): Promise<ByteStream> {
  if (scheme === "tcp") return open(Deno.connect({ hostname, port }), timeout);
  return await open(
    Deno.connectTls({
      hostname,
      port,
      ...(caCerts && { caCerts }),
      ...(cert !== undefined && key !== undefined && { cert, key }),
    }),
    timeout,
  );
}

/** Takes a connection that is ready within a time; one that comes later is closed. */
async function open(
  opening: Promise<Deno.TcpConn | Deno.TlsConn> | Deno.TlsConn | Deno.TcpConn,
  timeout: number,
): Promise<ByteStream> {
  let conn: Deno.TcpConn | Deno.TlsConn | undefined;
  let late = false;
  const opened = (async () => {
    conn = await opening;
    if (late) return conn[Symbol.dispose]();
    if ("handshake" in conn) await conn.handshake();
  })();
  let timer;
  const over = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      late = true;
      reject(new Deno.errors.TimedOut(`no answer within ${timeout / 1000} s`));
    }, timeout);
  });
  try {
    await Promise.race([opened, over]);
  } catch (error) {
    opened.catch(() => {});
    conn?.[Symbol.dispose]();
    throw error;
  } finally {
    clearTimeout(timer);
  }
  return new NetworkConnection(conn!);
}

/** Options of {@linkcode serveNetwork}. */
export interface ServeNetworkOptions {
  identity: Identity;
  /** How long a client has for its part of the TLS handshake, in milliseconds. */
  timeout: number;
  /** Ends the server: who is connected has 5 seconds to finish. */
  signal: AbortSignal;
  onListen: (port: number) => void;
  onError: (error: unknown) => void;
}

/** Serves a port, until the signal: as `serve()` does a path. */
export async function serveNetwork(
  side: NetworkEndpoint,
  { identity, timeout, signal, onListen, onError }: ServeNetworkOptions,
  handler: (conn: ByteStream, signal: AbortSignal) => Promise<unknown>,
): Promise<void> {
  const listener = listen(side, identity);
  const cut = new AbortController();
  const running = new Set<Promise<void>>();
  const { port } = listener.addr as Deno.NetAddr;
  const address = shownEndpoint({ ...side, port });
  const acceptor = new Acceptor(
    listener,
    (cause) => failure(`Cannot accept on ${address}`, cause as Error),
  );
  acceptor.onFailure = (error, isFirst) => {
    if (isFirst) onError(error);
  };
  signal.addEventListener("abort", () => acceptor.close());
  onListen(port);

  let lost: unknown;
  while (!signal.aborted && lost === undefined) {
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

  async function serveOne(accepted: Deno.TcpConn | Deno.TlsConn): Promise<void> {
    try {
      const conn = await opened(accepted);
      try {
        await handler(conn, cut.signal);
      } finally {
        conn.close();
      }
    } catch (error) {
      if (!cut.signal.aborted) onError(error);
    }
  }

  async function opened(accepted: Deno.TcpConn | Deno.TlsConn): Promise<ByteStream> {
    const { hostname, port } = accepted.remoteAddr as Deno.NetAddr;
    try {
      return await open(accepted, timeout);
    } catch (error) {
      throw failure(`Cannot serve ${hostname} port ${port} on ${address}`, error as Error);
    }
  }
}

function listen(
  side: NetworkEndpoint,
  { cert, key }: Identity,
): Deno.Listener<Deno.TcpConn | Deno.TlsConn> {
  const { scheme, hostname, port } = side;
  try {
    return scheme === "tcp"
      ? Deno.listen({ hostname, port })
      : Deno.listenTls({ hostname, port, cert: cert!, key: key! });
  } catch (error) {
    throw failure(`Cannot listen on ${shownEndpoint(side)}`, error as Error);
  }
}
