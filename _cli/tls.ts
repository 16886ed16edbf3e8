/**
 * TLS over a connection that stays ours.
 *
 * With Deno's own TLS a handshake that never ends keeps its descriptor for as long as the peer likes, also
 * after `close()`. node:tls works over any stream, so that the descriptor below it can be closed.
 */

import { Buffer } from "node:buffer";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { Duplex } from "node:stream";
import { connect, createSecureContext, TLSSocket } from "node:tls";
import type { ByteStream, Identity } from "./network.ts";

const BUFFER_SIZE = 64 * 1024;
/** Turns of the event loop in which what came before the end is decrypted. */
const END_TURNS = 3;

/** Which end of the connection this is. */
export type Role = { readonly isServer: true } | {
  readonly isServer: false;
  readonly hostname: string;
};

/** Throws unless the certificate and the key of a server are valid. */
export function checkIdentity({ cert, key }: Identity): void {
  new X509Certificate(cert!);
  createPrivateKey(key!);
}

/**
 * Encrypts a connection, which it owns.
 *
 * @param late Aborts when the handshake has taken too long. The connection is closed then.
 */
export async function encrypted(
  inner: ByteStream,
  { caCerts, cert, key }: Identity,
  role: Role,
  late: AbortSignal,
): Promise<ByteStream> {
  const identity = cert !== undefined && key !== undefined ? { cert, key } : {};
  const below = duplex(inner);
  const socket = role.isServer
    ? new TLSSocket(below, { ...identity, isServer: true, allowHalfOpen: true } as never)
    : connect({
      secureContext: trusting(identity, caCerts),
      socket: below,
      servername: /^[\d.]+$|:/.test(role.hostname) ? "" : role.hostname,
      host: role.hostname,
      allowHalfOpen: true,
    } as never);
  const conn = new TlsConnection(socket, below, inner);
  const stop = () => conn.close();
  late.addEventListener("abort", stop);
  try {
    await new Promise<void>((resolve, reject) => {
      socket.once(role.isServer ? "secure" : "secureConnect", resolve);
      socket.once("error", reject);
      socket.once("close", () => reject(new Deno.errors.ConnectionReset("it was closed")));
    });
  } catch (error) {
    conn.close();
    throw error;
  } finally {
    late.removeEventListener("abort", stop);
  }
  return conn;
}

/** What a client trusts and shows. The option `ca` would take the place of the usual authorities. */
function trusting(identity: Pick<Identity, "cert" | "key">, caCerts: string[] = []): unknown {
  const secure = createSecureContext(identity as never);
  for (const cert of caCerts) {
    (secure.context as { addCACert(cert: string): void }).addCACert(cert);
  }
  return secure;
}

/** A connection as a stream of Node's. */
function duplex(inner: ByteStream): Duplex {
  const stream = new Duplex({
    allowHalfOpen: true,
    // The encrypted stream would be closed with it, and lose what was not read from it yet.
    autoDestroy: false,
    read() {
      const buffer = new Uint8Array(BUFFER_SIZE);
      inner.read(buffer).then(
        (count) => void this.push(count === null ? null : Buffer.from(buffer.buffer, 0, count)),
        (error) => void this.destroy(error),
      );
    },
    write(chunk: Uint8Array, _encoding, done) {
      inner.write(chunk).then(() => done(), done);
    },
    final(done) {
      inner.closeWrite().then(() => done(), done);
    },
    destroy(error, done) {
      inner.close();
      done(error);
    },
  });
  // It is the encrypted stream that rejects with it.
  stream.on("error", () => {});
  return stream;
}

/**
 * An encrypted connection.
 *
 * - Deno 2.9.6 loses ends between a socket of node:tls and the stream below it: often neither the end of
 *   what is written reaches that stream, nor the end of that stream the reader. Both are passed on here.
 */
class TlsConnection implements ByteStream {
  readonly #socket: TLSSocket;
  /** What the socket writes its encrypted bytes to, and reads them from. */
  readonly #below: Duplex;
  #belowEnded = false;
  readonly #inner: ByteStream;
  #rest: Uint8Array | null = null;
  #ended = false;
  #failure: Error | undefined;
  /** Wakes the pending read. */
  #wake: () => void = () => {};

  constructor(socket: TLSSocket, below: Duplex, inner: ByteStream) {
    this.#socket = socket;
    this.#below = below;
    this.#inner = inner;
    socket.on("readable", () => this.#wake());
    socket.on("end", () => {
      this.#ended = true;
      this.#wake();
    });
    below.on("end", () => {
      this.#belowEnded = true;
      this.#wake();
    });
    socket.on("error", (error: Error) => {
      this.#failure ??= error;
      this.#wake();
    });
    socket.on("close", () => {
      if (!this.#ended) this.#failure ??= new Deno.errors.ConnectionReset("it was closed");
      this.#wake();
    });
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    for (let turnsAfterEnd = 0;;) {
      const data = this.#rest ?? this.#socket.read() as Uint8Array | null;
      if (data !== null) {
        const count = Math.min(data.length, buffer.length);
        buffer.set(data.subarray(0, count));
        this.#rest = count < data.length ? data.subarray(count) : null;
        return count;
      }
      if (this.#ended) return null;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#belowEnded && turnsAfterEnd++ === END_TURNS) return null;
      if (this.#belowEnded) await new Promise((resolve) => setTimeout(resolve, 0));
      else await new Promise<void>((resolve) => this.#wake = resolve);
    }
  }

  write(data: Uint8Array): Promise<number> {
    return this.#settled((done) => this.#socket.write(data, done)).then(() => data.length);
  }

  closeWrite(): Promise<void> {
    return this.#settled((done) => this.#socket.end(done)).then(() => void this.#below.end());
  }

  close(): void {
    this.#socket.destroy();
    this.#inner.close();
  }

  /** Settles when a call has called back, or when the socket has closed without that. */
  #settled(call: (done: (error?: Error | null) => void) => void): Promise<void> {
    return new Promise((resolve, reject) => {
      const closed = () => reject(this.#failure ?? new Deno.errors.BrokenPipe("it was closed"));
      if (this.#socket.destroyed) return closed();
      this.#socket.once("close", closed);
      call((error) => {
        this.#socket.off("close", closed);
        if (error) reject(error);
        else resolve();
      });
    });
  }
}
