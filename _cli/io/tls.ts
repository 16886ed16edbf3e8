/**
 * TLS for `uds relay`, as a client and as a server: see docs/design/tls_relay.md.
 *
 * With Deno's own TLS, a handshake that never ends keeps its descriptor, even after `close()`. So
 * TLS runs over a loopback connection of this process with itself. The encrypted bytes are piped
 * between that and the peer. Closing this side of the loopback ends the handshake. With Deno 2.9.6,
 * node:tls over a stream often loses the end of a direction.
 */

import { onAbort } from "../../_internal/base/event_loop.ts";
import { type ByteStream, copyBytes, writeAll } from "./byte_stream.ts";
import { LOOPBACK } from "../parse/endpoint.ts";
import type { ClientAuthorities } from "./client_certificates.ts";

const BUFFER_SIZE = 64 * 1024;
/** How long, in milliseconds, written data may take to leave after `close()`. */
const FLUSH_MS = 30_000;

/** The certificates and keys of TLS, in PEM. */
export interface Identity {
  /** Authorities to trust besides those of Deno. */
  readonly caCerts?: string[];
  readonly cert?: string;
  readonly key?: string;
  /** The authorities of clients, which then need a certificate. */
  readonly clients?: ClientAuthorities;
}

/** The end of a loopback connection that encrypts. */
type Secure = Pick<Deno.TlsConn, "read" | "write" | "closeWrite"> & Disposable & {
  handshake(): Promise<unknown>;
  /** Resolves when the peer may send more. */
  untilRead?(): Promise<void>;
};

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
  let conn: ReturnType<typeof overTls> | undefined;
  let plain: Deno.TcpConn | undefined;
  let secure: Secure | undefined;
  const stop = () => {
    plain?.[Symbol.dispose]();
    secure?.[Symbol.dispose]();
    peer.close();
  };
  const forget = onAbort(late, stop);
  try {
    [plain, secure] = hostname === undefined
      ? await meetClient(identity)
      : await meetServer(identity, hostname);
    conn = overTls(secure, plain, peer);
    late.throwIfAborted();
    await conn.handshake();
    return conn;
  } catch (error) {
    stop();
    conn?.close();
    throw late.aborted ? late.reason : error;
  } finally {
    forget();
  }
}

function listenTls({ cert, key }: Identity): Deno.TlsListener {
  return Deno.listenTls({ hostname: LOOPBACK, port: 0, cert: cert!, key: key! });
}

async function meetClient(identity: Identity): Promise<[plain: Deno.TcpConn, secure: Secure]> {
  const { cert, key, clients } = identity;
  if (clients === undefined) {
    return await meet<Deno.TcpConn, Deno.TlsConn>(listenTls(identity), Deno.connect);
  }
  const { VerifiedTls } = await import("./client_certificates.ts");
  return await VerifiedTls.meet({ cert: cert!, key: key!, authorities: clients });
}

async function meetServer(
  identity: Identity,
  hostname: string,
): Promise<[plain: Deno.TcpConn, secure: Secure]> {
  // `Deno.startTls` has no certificate of the client. This is how node:tls named the server.
  const options = { ...identity, [Symbol.for("unstableServerName")]: hostname };
  const [secure, plain] = await meet(
    Deno.listen({ hostname: LOOPBACK, port: 0 }),
    (address) => Deno.connectTls({ ...options, ...address }),
  );
  return [plain, secure];
}

/** Connects to a listener of this process, and closes it. Other clients are dropped. */
async function meet<
  Connected extends Deno.TcpConn | Deno.TlsConn,
  Accepted extends Deno.TcpConn | Deno.TlsConn,
>(
  listener: Deno.Listener<Accepted>,
  connect: (address: { hostname: string; port: number }) => Promise<Connected>,
): Promise<[connected: Connected, accepted: Accepted]> {
  using _closed = listener;
  const { port } = listener.addr as Deno.NetAddr;
  const connected = await connect({ hostname: LOOPBACK, port });
  for (;;) {
    const accepted = await listener.accept();
    const { port } = accepted.remoteAddr as Deno.NetAddr;
    if (port === (connected.localAddr as Deno.NetAddr).port) return [connected, accepted];
    accepted[Symbol.dispose]();
  }
}

/** Returns an encrypted connection. Closing it sends written data first. */
function overTls(
  secure: Secure,
  plain: Deno.TcpConn,
  peer: ByteStream,
): ByteStream & Pick<Secure, "handshake"> {
  /** The failure of the connection to the peer. */
  let failure: Error | undefined;
  let isClosed = false;
  const explain = (error: unknown) => {
    throw failure ?? error;
  };
  /** Settles when all written data has left, or cannot leave. */
  const flushed = pipe(plain, peer);
  pipe(peer, {
    async write(data) {
      await secure.untilRead?.();
      return await writeAll(plain, data);
    },
    closeWrite: () => plain.closeWrite(),
  }).then(() => {
    // A peer that sends nothing more does not take a blocked write either.
    if (failure !== undefined) flushed.finally(() => plain[Symbol.dispose]());
  });
  return {
    handshake: () => secure.handshake().catch(explain),
    read: (buffer) => secure.read(buffer).catch(explain),
    write: (data) => writeAll(secure, data).catch(explain),
    closeWrite: () => secure.closeWrite(),
    close() {
      if (isClosed) return;
      isClosed = true;
      secure[Symbol.dispose]();
      const timer = setTimeout(() => peer.close(), FLUSH_MS);
      flushed.finally(() => {
        clearTimeout(timer);
        plain[Symbol.dispose]();
        peer.close();
      });
    },
  };

  /** Pipes encrypted bytes, and their end. Never rejects. */
  async function pipe(
    from: Pick<ByteStream, "read">,
    to: Pick<ByteStream, "write" | "closeWrite">,
  ): Promise<void> {
    try {
      await copyBytes(from, to, BUFFER_SIZE);
    } catch (error) {
      if (!isClosed) failure ??= error as Error;
    }
    // TLS distinguishes an end from a cut.
    await to.closeWrite().catch(() => {});
  }
}
