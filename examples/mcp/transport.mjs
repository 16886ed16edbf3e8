// A transport for the library of the Model Context Protocol: JSON lines on a connection of uds.
import { json, lines, messages } from "@uds/uds";

export class ConnectionTransport {
  #session;
  /** Resolves when the peer has ended, or after `close()`. */
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
      this.onclose?.();
    }
  }

  send(message) {
    return this.#session.send(message);
  }

  async close() {
    await this.#session.closeWrite();
    await this.closed;
  }
}
