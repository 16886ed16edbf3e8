/**
 * TLS over a connection of this process.
 *
 * With Deno's own TLS, a handshake that never ends keeps its descriptor, even after `close()`. So TLS runs over
 * a loopback connection of this process with itself. The encrypted bytes are piped between that and the peer.
 * Closing this side of the loopback ends the handshake. With Deno 2.9.6, node:tls over a stream often loses
 * the end of a direction.
 */

import { onAbort } from "../../_internal/base/event_loop.ts";
import { type ByteStream, copyBytes, writeAll } from "./byte_stream.ts";
import { LOOPBACK } from "./endpoint.ts";

const BUFFER_SIZE = 64 * 1024;
/** How long, in milliseconds, written data may take to leave after `close()`. */
const FLUSH_MS = 30_000;

/** The certificates and keys of TLS, in PEM. */
export interface Identity {
  /** Authorities to trust besides those of Deno. */
  readonly caCerts?: string[];
  readonly cert?: string;
  readonly key?: string;
}

/** Throws unless the certificate and the key of a server are valid. */
export function checkIdentity(identity: Identity): void {
  listenTls(identity).close();
}

/**
 * Encrypts a connection, which it owns.
 *
 * @param late Aborts when the handshake has taken too long, and closes the connection.
 * @param hostname The name of the server; without it, this side is the server.
 */
export async function encrypted(
  peer: ByteStream,
  identity: Identity,
  late: AbortSignal,
  hostname?: string,
): Promise<ByteStream> {
  let conn: TlsConnection | undefined;
  let plain: Deno.TcpConn | undefined;
  const stop = () => {
    plain?.[Symbol.dispose]();
    peer.close();
  };
  const forget = onAbort(late, stop);
  try {
    let secure: Deno.TlsConn;
    if (hostname === undefined) {
      [plain, secure] = await meet(listenTls(identity));
    } else {
      const [below, accepted] = await meet(Deno.listen({ hostname: LOOPBACK, port: 0 }));
      plain = accepted;
      secure = await Deno.startTls(below, { ...identity, hostname });
    }
    conn = new TlsConnection(secure, plain, peer);
    late.throwIfAborted();
    await secure.handshake();
    return conn;
  } catch (error) {
    stop();
    conn?.close();
    throw late.aborted ? late.reason : conn?.failure ?? error;
  } finally {
    forget();
  }
}

function listenTls({ cert, key }: Identity): Deno.TlsListener {
  return Deno.listenTls({ hostname: LOOPBACK, port: 0, cert: cert!, key: key! });
}

/** Connects to a listener of this process, and closes it. Other clients are dropped. */
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
  /** The failure of the connection to the peer. */
  failure: Error | undefined;
  readonly #secure: Deno.TlsConn;
  readonly #plain: Deno.TcpConn;
  readonly #peer: ByteStream;
  /** Settles when all written data has left, or cannot leave. */
  readonly #flushed: Promise<void>;
  #isClosed = false;

  constructor(secure: Deno.TlsConn, plain: Deno.TcpConn, peer: ByteStream) {
    this.#secure = secure;
    this.#plain = plain;
    this.#peer = peer;
    this.#flushed = this.#pipe(plain, peer);
    const toPlain = {
      write: (data: Uint8Array) => writeAll(plain, data),
      closeWrite: () => plain.closeWrite(),
    };
    this.#pipe(peer, toPlain).then(() => {
      // A peer that sends nothing more does not take a blocked write either.
      if (this.failure !== undefined) this.#flushed.finally(() => plain[Symbol.dispose]());
    });
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#secure.read(buffer).catch(this.#explain);
  }

  write(data: Uint8Array): Promise<number> {
    return writeAll(this.#secure, data).catch(this.#explain);
  }

  closeWrite(): Promise<void> {
    return this.#secure.closeWrite();
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

  readonly #explain = (error: unknown): never => {
    throw this.failure ?? error;
  };

  /** Pipes encrypted bytes, and their end. Never rejects. */
  async #pipe(
    from: Pick<ByteStream, "read">,
    to: Pick<ByteStream, "write" | "closeWrite">,
  ): Promise<void> {
    try {
      await copyBytes(from, to, BUFFER_SIZE);
    } catch (error) {
      if (!this.#isClosed) this.failure ??= error as Error;
    }
    // TLS distinguishes an end from a cut.
    await to.closeWrite().catch(() => {});
  }
}
