/**
 * A listener at a descriptor that it shares with other workers, by a `net.Server`: in the sandbox
 * only node:net itself makes handles. Whether descriptors are left shows when a file is opened: a
 * handle would keep the duplicate with which `FdListener` finds out.
 */

import type { Server } from "node:net";
import type { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";
import { builtin } from "../base/node.ts";
import { FdSocket } from "../descriptor/fd_socket.ts";
import { fromNode } from "../descriptor/node_error.ts";
import { PokedListener } from "../descriptor/poked_listener.ts";

/** How many times a wait has Deno accept once more, before it looks for a descriptor. */
const POKES_PER_LOOK = 10;

/** The handle of a `net.Server`, which has no public name. */
interface Handle {
  onconnection(status: number): void;
  onread: () => void;
  readStart(): number;
  readStop(): number;
}

/** A listener of a worker. One call may wait at a time. */
export class SharedListener extends PokedListener {
  readonly #server: Server;
  /** A file that can be opened, if a descriptor is left. */
  readonly #file: URL;
  /** How many times Deno was made to accept during this wait. */
  #pokes = 0;
  readonly #ended = Promise.withResolvers<void>();
  /** Resolves when it takes no more clients from the backlog. */
  readonly ended: Promise<void> = this.#ended.promise;

  /**
   * Listens at a descriptor. Closing the listener closes it.
   *
   * @param backlog The length of the queue, as the owner has set it. node:net adds one.
   * @param file A file that this process may read.
   */
  static async open(
    context: ErrorContext<null>,
    fd: number,
    backlog: number,
    file: URL,
  ): Promise<SharedListener> {
    const server = builtin("node:net").createServer({ pauseOnConnect: true, allowHalfOpen: true });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("listening", resolve).once("error", reject);
    // Node takes the length only from here, although its types do not.
    (server.listen as (options: object, backlog: number) => void).call(server, { fd }, backlog);
    await promise.catch((cause) => {
      throw context.fail(fromNode(cause));
    });
    return new SharedListener(server, file);
  }

  private constructor(server: Server, file: URL) {
    const handle = (server as unknown as { _handle: Handle })._handle;
    super(handle);
    this.#server = server;
    this.#file = file;
    const pass = handle.onconnection;
    handle.onconnection = (status) => {
      if (this.takesClient) pass.call(handle, status);
    };
    handle.onread = () => {};
    server.on("connection", (socket) => this.deliver(FdSocket.fromStream(socket)));
    server.on("error", (error) => this.fail(fromNode(error)));
  }

  ref(): void {
    this.#server.ref();
  }

  unref(): void {
    this.#server.unref();
  }

  protected override waitBegins(): void {
    this.#pokes = 0;
  }

  protected override lackOfDescriptors(): unknown {
    if (++this.#pokes % POKES_PER_LOOK > 0) return undefined;
    try {
      Deno.openSync(this.#file).close();
      return undefined;
    } catch (error) {
      // It may have been removed meanwhile.
      return codeOf(error) === "EMFILE" ? error : undefined;
    }
  }

  protected override endListening(): void {
    this.#server.close();
    this.#ended.resolve();
  }
}
