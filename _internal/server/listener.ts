/** The listener behind `listen()`. */

import type { UnixAddr } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { seen, seenFrom } from "../base/caller_stack.ts";
import type { ListeningSocket } from "./listening_socket.ts";

/**
 * A listener that owns its path. `for await` over it ends when it closes.
 *
 * @category Servers
 */
export interface UnixListener extends AsyncIterable<Connection>, AsyncDisposable {
  /** The address that clients connect to. */
  readonly addr: UnixAddr;
  /**
   * Accepts a connection. Several calls may wait: the first one is served first.
   *
   * - If the process or the system runs out of descriptors, it waits until one is free.
   *
   * @returns The connection. Close it when you are done.
   * @throws {Deno.errors.BadResource} when the listener is closed, or closes meanwhile.
   * @throws {SocketError} when accepting fails for good.
   */
  accept(): Promise<Connection>;
  /**
   * Stops listening. Removes the socket file, if it is still the one that was bound, and then the
   * lock. Idempotent; disposal does the same.
   *
   * - Accepted connections go on. Those in the backlog are reset; to serve them first, use
   *   `serve()` and its `shutdown()`.
   *
   * @throws {SocketError} when a file cannot be removed; the listener closes all the same.
   */
  close(): Promise<void>;
  /** Keeps the process running while an `accept` is pending. This is the default. */
  ref(): void;
  /** Allows the process to exit while an `accept` is pending. */
  unref(): void;
}

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
    return seen<Connection>(this.#socket.accept());
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Connection> {
    try {
      for (;;) yield await this.accept();
    } catch (error) {
      if (!this.#socket.queue.isClosed) throw seenFrom(this[Symbol.asyncIterator], error);
    }
  }

  close(): Promise<void> {
    return seen(this.#socket.close().finally(() => this.#socket.reporter.flush()));
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
