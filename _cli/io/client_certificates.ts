/**
 * TLS that requires a certificate of each client. `Deno.listenTls` cannot, so node:tls does it.
 *
 * node:tls of Deno 2.9.6 needs some help: see docs/design/tls_relay.md.
 */

import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { builtin } from "../../_internal/base/node.ts";
import { LOOPBACK } from "../parse/endpoint.ts";

/** The most decrypted bytes that may wait for a read before no more are taken from the peer. */
const QUEUE_BYTES = 1024 * 1024;

/** The authorities of the clients that are accepted. */
export class ClientAuthorities {
  readonly #pems: string[];
  readonly #ownFingerprints: Set<string>;
  readonly #verified = new Set<string>();

  /** @throws {Error} unless the text contains valid certificates. */
  constructor(text: string) {
    const { X509Certificate } = builtin("node:crypto");
    const blocks = text.match(/-----BEGIN CERTIFICATE-----[^]*?-----END CERTIFICATE-----/g) ?? [];
    if (blocks.length === 0) throw new Error("it has no certificate");
    const certificates = blocks.map((block) => new X509Certificate(block));
    // node:tls gets the certificates that were parsed here, and no others.
    this.#pems = certificates.map((certificate) => certificate.toString());
    this.#ownFingerprints = new Set(certificates.map((it) => it.fingerprint256));
  }

  /** The certificates, each in PEM. */
  get pems(): string[] {
    return this.#pems;
  }

  /** Throws if node:tls has accepted a certificate that it should not have. */
  check(socket: TLSSocket): void {
    const { raw } = socket.getPeerCertificate();
    if (!socket.authorized || raw === undefined) throw new Error("its certificate is not verified");
    const { fingerprint256, validTo } = new (builtin("node:crypto").X509Certificate)(raw);
    if (this.#ownFingerprints.has(fingerprint256)) {
      throw new Error("its certificate is that of the authority itself");
    }
    // A session that is resumed is not verified again.
    if (new Date(validTo) < new Date()) throw new Error("its certificate has expired");
    if (!socket.isSessionReused()) this.#verified.add(fingerprint256);
    else if (!this.#verified.has(fingerprint256)) throw new Error("its session is unknown");
  }
}

/** The end of a loopback connection that decrypts, for a client with a certificate. */
export class VerifiedTls {
  readonly #opened = Promise.withResolvers<TLSSocket>();
  #chunks: Uint8Array[] = [];
  #queued = 0;
  #end: Error | null | undefined;
  #wakeReader = () => {};
  #wakeFeeder = () => {};

  /** Returns both ends of a loopback connection of this process. */
  static async meet(
    identity: { cert: string; key: string; authorities: ClientAuthorities },
  ): Promise<[plain: Deno.TcpConn, secure: VerifiedTls]> {
    const { cert, key, authorities } = identity;
    const server = builtin("node:tls").createServer({
      ...{ cert, key, ca: authorities.pems, requestCert: true, rejectUnauthorized: true },
      // The definition of its types lacks it.
      ...{ allowHalfOpen: true },
    });
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject).listen(0, LOOPBACK, resolve);
    });
    const { port } = server.address() as { port: number };
    const secure = new VerifiedTls();
    const opened = secure.#opened;
    server.on("tlsClientError", (error, { authorizationError: code }) => {
      opened.reject(code ? new Error(`its certificate is refused (${code})`) : error);
    });
    server.on("connection", (accepted: Socket) => {
      // With half-open sockets, node:tls waits for the rest of a handshake that was cut.
      opened.promise.catch(() => accepted.destroy());
    });
    const plain = await Deno.connect({ hostname: LOOPBACK, port });
    server.on("secureConnection", (socket: TLSSocket) => {
      const isOurs = socket.remotePort === (plain.localAddr as Deno.NetAddr).port;
      try {
        if (!isOurs) throw new Error("another process has connected");
        authorities.check(socket);
        secure.#receive(socket);
        opened.resolve(socket);
      } catch (error) {
        socket.destroy();
        if (isOurs) opened.reject(error);
      }
    });
    opened.promise.catch(() => {}).finally(() => server.close());
    return [plain, secure];
  }

  /** Resolves when the certificate of the client is verified. */
  async handshake(): Promise<void> {
    await this.#opened.promise;
  }

  /** Queues what comes. A socket of node:tls that is paused loses its end of file. */
  #receive(socket: TLSSocket): void {
    const end = (how: Error | null) => {
      this.#end ??= how;
      this.#wakeReader();
    };
    socket.on("data", (chunk: Uint8Array) => {
      this.#chunks.push(chunk);
      this.#queued += chunk.length;
      this.#wakeReader();
    });
    socket.on("end", () => end(null));
    socket.on("error", end);
    socket.on("close", () => end(new Deno.errors.UnexpectedEof("the connection was cut")));
  }

  /** Resolves when the peer may send more. */
  async untilRead(): Promise<void> {
    while (this.#queued >= QUEUE_BYTES) {
      await new Promise<void>((resolve) => this.#wakeFeeder = resolve);
    }
  }

  async read(buffer: Uint8Array): Promise<number | null> {
    while (this.#chunks.length === 0) {
      if (this.#end === null) return null;
      if (this.#end !== undefined) throw this.#end;
      await new Promise<void>((resolve) => this.#wakeReader = resolve);
    }
    const [chunk] = this.#chunks as [Uint8Array];
    const count = Math.min(buffer.length, chunk.length);
    buffer.set(chunk.subarray(0, count));
    if (count === chunk.length) this.#chunks.shift();
    else this.#chunks[0] = chunk.subarray(count);
    this.#queued -= count;
    this.#wakeFeeder();
    return count;
  }

  async write(data: Uint8Array): Promise<number> {
    const socket = await this.#opened.promise;
    await new Promise<void>((resolve, reject) => {
      socket.write(data, (error) => error ? reject(error) : resolve());
    });
    return data.length;
  }

  async closeWrite(): Promise<void> {
    const socket = await this.#opened.promise;
    await new Promise<void>((resolve) => socket.end(resolve));
  }

  [Symbol.dispose](): void {
    this.#opened.reject(new Error("the handshake was cut"));
    this.#opened.promise.then((socket) => socket.destroy(), () => {});
    this.#queued = 0;
    this.#wakeFeeder();
  }
}
