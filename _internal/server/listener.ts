/** The listener behind `listen()`. */

import type { UnixAddr } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import type { UnixListener } from "../../listener.ts";
import type { ListeningSocket } from "./listening_socket.ts";

/** Returns the connections of a listening socket one by one. */
export class Listener implements UnixListener {
  readonly #socket: ListeningSocket;

  /** @param socket The socket, which is closed with this. */
  constructor(socket: ListeningSocket) {
    this.#socket = socket;
    socket.start({ end: () => this.close(), leave: () => socket.leave() });
  }

  get addr(): UnixAddr {
    return this.#socket.addr;
  }

  accept(): Promise<Connection> {
    return this.#socket.accept();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Connection> {
    try {
      for (;;) yield await this.accept();
    } catch (error) {
      if (!this.#socket.queue.isClosed) throw error;
    }
  }

  close(): Promise<void> {
    return this.#socket.close().finally(() => this.#socket.reporter.flush());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  ref(): void {
    this.#socket.queue.ref();
  }

  unref(): void {
    this.#socket.queue.unref();
  }
}
