/**
 * A listener at a descriptor that it shares with other workers, by a `net.Server`: in the sandbox
 * only node:net itself makes handles.
 *
 * - node:net accepts without being asked. Its handle therefore passes a client only while a call
 *   waits. The clients that Deno has accepted ahead, a few dozen at most, stay in the handle.
 * - After one failed accept, Deno never accepts there again, and reports nothing. A call that looks
 *   like a read makes it accept once more. Whether descriptors are left shows when a file is
 *   opened: a handle would keep the duplicate with which `FdListener` finds out.
 */

import type { Server } from "node:net";
import type { ErrorContext } from "../base/error_context.ts";
import { turn } from "../base/event_loop.ts";
import { codeOf } from "../base/failure.ts";
import { builtin } from "../base/node.ts";
import { FdSocket } from "../descriptor/fd_socket.ts";
import { fromNode } from "../descriptor/node_error.ts";

/** How often Deno is made to accept once more. */
const POKE_MS = 100;
/** How many times it is, before a wait looks for a descriptor. */
const POKES_PER_LOOK = 10;

/** The queue of the kernel, as the owner has set it. node:net adds one. */
const BACKLOG = 1023;

/** The handle of a `net.Server`, which has no public name. */
interface Handle {
  onconnection(status: number): void;
  onread: () => void;
  readStart(): number;
  readStop(): number;
}

/** A listener of a worker. One call may wait at a time. */
export class SharedListener {
  readonly #server: Server;
  readonly #handle: Handle;
  /** Clients that came without a call, when it retires. */
  readonly #early: FdSocket[] = [];
  readonly #poking: ReturnType<typeof setInterval>;
  /** A file that can be opened, if a descriptor is left. */
  readonly #file: URL;
  #waiting: PromiseWithResolvers<FdSocket> | undefined;
  /** How many times Deno was made to accept during this wait. */
  #pokes = 0;
  #isRetiring = false;
  #isClosed = false;

  /**
   * Listens at a descriptor. Closing the listener closes it.
   *
   * @param file A file that this process may read.
   */
  static async open(
    context: ErrorContext<null>,
    fd: number,
    file: URL,
  ): Promise<SharedListener> {
    const server = builtin("node:net").createServer({ pauseOnConnect: true, allowHalfOpen: true });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("listening", resolve).once("error", reject);
    server.listen({ fd, backlog: BACKLOG });
    await promise.catch((cause) => {
      throw context.fail(fromNode(cause));
    });
    return new SharedListener(server, file);
  }

  private constructor(server: Server, file: URL) {
    this.#server = server;
    this.#file = file;
    const handle = this.#handle = (server as unknown as { _handle: Handle })._handle;
    const pass = handle.onconnection;
    handle.onconnection = (status) => {
      if (this.#waiting !== undefined || this.#isRetiring) pass.call(handle, status);
    };
    handle.onread = () => {};
    server.on("connection", (socket) => this.#deliver(FdSocket.fromStream(socket)));
    server.on("error", (error) => this.#settle()?.reject(fromNode(error)));
    this.#poking = setInterval(() => this.#look(), POKE_MS);
  }

  accept(): Promise<FdSocket> {
    const early = this.#early.shift();
    if (early !== undefined) return Promise.resolve(early);
    if (this.#isClosed) return Promise.reject(closedError());
    this.#waiting = Promise.withResolvers();
    this.#pokes = 0;
    const { promise } = this.#waiting;
    this.#poke();
    return promise;
  }

  /**
   * Leaves the backlog to the other workers. Resolves when the clients are taken that Deno has
   * accepted ahead. Another caller must accept meanwhile.
   */
  async retire(): Promise<void> {
    this.#isRetiring = true;
    this.#poke();
    // Deno then passes all of them in one turn, and accepts before that at most.
    await turn();
    await turn();
    this.#endListening();
    while (this.#early.length > 0) await turn();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#endListening();
    for (const socket of this.#early.splice(0)) socket.close();
    this.#settle()?.reject(closedError());
  }

  ref(): void {
    this.#server.ref();
  }

  unref(): void {
    this.#server.unref();
  }

  #endListening(): void {
    clearInterval(this.#poking);
    if (this.#server.listening) this.#server.close();
  }

  /** Accepts once more, or fails if this process has no descriptor left for a client. */
  #look(): void {
    if (this.#waiting === undefined) return;
    this.#poke();
    if (++this.#pokes % POKES_PER_LOOK > 0) return;
    try {
      Deno.openSync(this.#file).close();
    } catch (error) {
      // It may have been removed meanwhile.
      if (codeOf(error) === "EMFILE") this.#settle()?.reject(error);
    }
  }

  /** Makes Deno accept, and pass a client that it has accepted ahead. */
  #poke(): void {
    if (!this.#server.listening) return;
    this.#handle.readStart();
    this.#handle.readStop();
  }

  #deliver(socket: FdSocket): void {
    const waiting = this.#settle();
    if (waiting !== undefined) waiting.resolve(socket);
    else this.#early.push(socket);
  }

  #settle(): PromiseWithResolvers<FdSocket> | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    return waiting;
  }
}

function closedError(): Error {
  return new Deno.errors.BadResource("Listener has been closed");
}
