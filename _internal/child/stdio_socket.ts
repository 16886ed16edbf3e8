/** A transport over the standard input and output of a child: two pipes, one for each direction. */

import type { Transport } from "../connection/socket_connection.ts";
import type { FdSocket } from "../descriptor/fd_socket.ts";

/** The two pipes of a child. */
export class StdioSocket implements Transport {
  readonly #input: FdSocket;
  readonly #output: FdSocket;

  /**
   * @param input The pipe to the child's standard input.
   * @param output The pipe from its standard output.
   */
  constructor(input: FdSocket, output: FdSocket) {
    this.#input = input;
    this.#output = output;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    return this.#output.read(buffer);
  }

  write(data: Uint8Array): Promise<number> {
    return this.#input.write(data);
  }

  /** Sends the end of file, which is the end of the pipe. */
  closeWrite(): Promise<void> {
    this.#input.close();
    return Promise.resolve();
  }

  close(): void {
    this.#input.close();
    this.#output.close();
  }

  ref(): void {
    this.#input.ref();
    this.#output.ref();
  }

  unref(): void {
    this.#input.unref();
    this.#output.unref();
  }
}
