/** The listener behind `listen()`. */

import type { UnixAddr } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import type { ListenOptions, UnixListener } from "../../server.ts";
import { onAbort } from "../base/event_loop.ts";
import type { ListeningSocket } from "./listening_socket.ts";
import { Reporter } from "./reporter.ts";

/** Returns the connections of a listening socket one by one. */
export class Listener implements UnixListener {
  readonly #socket: ListeningSocket;
  readonly #reporter: Reporter;
  readonly #stopListeningToSignal: () => void;

  /**
   * @param socket The socket, which is closed with this.
   * @param options Checked options.
   */
  constructor(socket: ListeningSocket, options: ListenOptions) {
    const { onPathLost, onReplaced, signal } = options;
    this.#socket = socket;
    this.#reporter = new Reporter(onPathLost);
    const { report } = this.#reporter;
    this.#stopListeningToSignal = onAbort(signal, () => void this.close().catch(report));
    socket.start(this.#reporter, () => {
      this.#stopListeningToSignal();
      this.#reporter.call(() => onReplaced?.());
      socket.leave().catch(report);
    });
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
    this.#stopListeningToSignal();
    return this.#socket.close().finally(() => this.#reporter.flush());
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
