/**
 * TLS over a connection that stays ours.
 *
 * With Deno's own TLS a handshake that never ends keeps its descriptor for as long as the peer likes, also
 * after `close()`. So TLS runs over a connection of this process with itself, by the loopback interface, and
 * the encrypted bytes are passed on between that and the peer. Closing our end of it ends the handshake.
 *
 * - Not node:tls over a stream: with Deno 2.9.6 that often loses the end of a direction.
 */

import { LOOPBACK } from "./endpoint.ts";
import type { ByteStream, Identity } from "./network.ts";

const BUFFER_SIZE = 64 * 1024;
/** How long what was written may take to leave after `close()`. */
const FLUSH_MS = 30_000;

/** Which end of the connection this is. */
export type Role = { readonly isServer: true } | {
  readonly isServer: false;
  readonly hostname: string;
};

/** Throws unless the certificate and the key of a server are valid. */
export function checkIdentity({ cert, key }: Identity): void {
  Deno.listenTls({ hostname: LOOPBACK, port: 0, cert: cert!, key: key! }).close();
}

/**
 * Encrypts a connection, which it owns.
 *
 * @param late Aborts when the handshake has taken too long. The connection is closed then.
 */
export async function encrypted(
  peer: ByteStream,
  identity: Identity,
  role: Role,
  late: AbortSignal,
): Promise<ByteStream> {
  let conn: TlsConnection | undefined;
  let plain: Deno.TcpConn | undefined;
  const stop = () => {
    plain?.[Symbol.dispose]();
    peer.close();
  };
  late.addEventListener("abort", stop);
  try {
    const ends = role.isServer ? await asServer(identity) : await asClient(identity, role.hostname);
    plain = ends.plain;
    late.throwIfAborted();
    conn = new TlsConnection(await ends.secure, plain, peer);
    await conn.handshake();
    return conn;
  } catch (error) {
    stop();
    conn?.close();
    throw conn?.failure ?? error;
  } finally {
    late.removeEventListener("abort", stop);
  }
}

/** The two ends of a connection of this process with itself, one of which speaks TLS. */
interface Ends {
  plain: Deno.TcpConn;
  secure: Promise<Deno.TlsConn> | Deno.TlsConn;
}

async function asServer({ cert, key }: Identity): Promise<Ends> {
  const listen = { hostname: LOOPBACK, port: 0, cert: cert!, key: key! };
  const [plain, secure] = await meet(Deno.listenTls(listen));
  return { plain, secure };
}

async function asClient({ caCerts, cert, key }: Identity, hostname: string): Promise<Ends> {
  const [below, plain] = await meet(Deno.listen({ hostname: LOOPBACK, port: 0 }));
  const secure = Deno.startTls(below, {
    hostname,
    ...(caCerts && { caCerts }),
    ...(cert !== undefined && key !== undefined && { cert, key }),
  });
  return { plain, secure };
}

/** Connects to a listener of this process, which it closes. Others who connect to it are dropped. */
async function meet<Conn extends Deno.TcpConn | Deno.TlsConn>(
  listener: Deno.Listener<Conn>,
): Promise<[connected: Deno.TcpConn, accepted: Conn]> {
  using _closed = listener;
  const { port } = listener.addr as Deno.NetAddr;
  const connected = await Deno.connect({ hostname: LOOPBACK, port });
  for (;;) {
    const accepted = await listener.accept();
    const { port } = accepted.remoteAddr as Deno.NetAddr;
    if (port === (connected.localAddr as Deno.NetAddr).port) return [connected, accepted];
    accepted[Symbol.dispose]();
  }
}

/** An encrypted connection. */
class TlsConnection implements ByteStream {
  /** What went wrong with the connection to the peer. */
  failure: Error | undefined;
  readonly #secure: Deno.TlsConn;
  readonly #plain: Deno.TcpConn;
  readonly #peer: ByteStream;
  /** Settles when all that was written has left, or cannot. */
  readonly #flushed: Promise<void>;
  #isClosed = false;

  constructor(secure: Deno.TlsConn, plain: Deno.TcpConn, peer: ByteStream) {
    this.#secure = secure;
    this.#plain = plain;
    this.#peer = peer;
    this.#flushed = this.#pass(plain, peer);
    // Once nothing comes from the peer, a write that it does not take has no hope either.
    this.#pass(peer, plain).then(() => {
      if (this.failure !== undefined) this.#flushed.finally(() => plain[Symbol.dispose]());
    });
  }

  async handshake(): Promise<void> {
    await this.#secure.handshake();
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    try {
      return await this.#secure.read(buffer);
    } catch (error) {
      throw this.failure ?? error;
    }
  }

  async write(data: Uint8Array): Promise<number> {
    try {
      for (let sent = 0; sent < data.length;) sent += await this.#secure.write(data.subarray(sent));
    } catch (error) {
      throw this.failure ?? error;
    }
    return data.length;
  }

  async closeWrite(): Promise<void> {
    await this.#secure.closeWrite();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#secure[Symbol.dispose]();
    const timer = setTimeout(() => this.#peer.close(), FLUSH_MS);
    this.#flushed.finally(() => {
      clearTimeout(timer);
      this.#plain[Symbol.dispose]();
      this.#peer.close();
    });
  }

  /** Passes encrypted bytes on, and their end. Never rejects. */
  async #pass(from: Deno.TcpConn | ByteStream, to: Deno.TcpConn | ByteStream): Promise<void> {
    const buffer = new Uint8Array(BUFFER_SIZE);
    try {
      for (;;) {
        const count = await from.read(buffer);
        if (count === null) break;
        for (let sent = 0; sent < count;) sent += await to.write(buffer.subarray(sent, count));
      }
    } catch (error) {
      if (!this.#isClosed && (from === this.#peer || to === this.#peer)) {
        this.failure ??= error as Error;
      }
    }
    // TLS itself tells an end from one that was cut short.
    await to.closeWrite().catch(() => {});
  }
}
