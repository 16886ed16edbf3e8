// A transport for the library of the Model Context Protocol: JSON lines on a connection of uds.
import { json, lines, messages } from "@uds/uds";

/** How long, in milliseconds, `close()` waits for the peer. */
const CLOSE_MS = 2000;

export class ConnectionTransport {
  #session;
  /** Resolves when the connection has closed: the peer has ended, or `close()` was called. */
  closed;

  constructor(conn) {
    this.#session = messages(conn, json(lines()));
  }

  start() {
    this.closed = this.#receive();
    return Promise.resolve();
  }

  async #receive() {
    try {
      for await (const message of this.#session) this.onmessage?.(message);
    } catch (error) {
      this.onerror?.(error);
    } finally {
      await this.#session[Symbol.asyncDispose]().catch((error) => this.onerror?.(error));
      this.onclose?.();
    }
  }

  send(message) {
    return this.#session.send(message);
  }

  /** Sends what is queued, and waits for the peer to end. Rejects if something was not sent. */
  async close() {
    const timer = setTimeout(() => this.#session.close(), CLOSE_MS);
    try {
      await this.#session.closeWrite();
      await this.closed;
    } finally {
      clearTimeout(timer);
      this.#session.close();
    }
  }
}
