/** A listening socket at a descriptor, as a manager opens it for a server. */

import { createServer } from "node:net";

interface Pipe {
  readonly fd: number;
  bind(path: string): number;
  listen(backlog: number): number;
  fdForIpc(): number;
  close(): void;
}

/** A bound socket that this process never accepts from. A server gets duplicates of it. */
export class GivenSocket implements Disposable {
  readonly path: string;
  readonly #pipe: Pipe;

  constructor(path: string) {
    this.path = path;
    const server = createServer().listen(`\0${crypto.randomUUID()}`);
    const { constructor } = (server as unknown as { _handle: object })._handle;
    this.#pipe = new (constructor as new (type: number) => Pipe)(1);
    server.close();
    if (this.#pipe.bind(path) !== 0) throw new Error(`Cannot bind ${path}`);
  }

  /** Returns a new descriptor of the socket. */
  descriptor(): number {
    return this.#pipe.fdForIpc();
  }

  [Symbol.dispose](): void {
    this.#pipe.close();
  }
}
