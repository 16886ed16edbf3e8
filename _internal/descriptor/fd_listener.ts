/**
 * A listener at a descriptor that this process was given, by node:net. It behaves like a
 * `Deno.UnixListener`, which cannot be opened there.
 *
 * - node:net accepts without being asked. Its handle therefore hands over a client only while a
 *   call waits. The clients that Deno has accepted ahead, a few dozen at most, stay in the handle.
 * - After one failed accept, Deno never accepts there again, and reports nothing. A call that looks
 *   like a read makes it accept once more: see {@linkcode FdListener.#poke}.
 * - Closing leaves the path alone, and the descriptor open in every other process that has it.
 */

import type { Server } from "node:net";
import { NotASocket } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";
import { builtin } from "../base/node.ts";
import { errorOfCode } from "../base/system_code.ts";
import { FdSocket } from "./fd_socket.ts";
import { requireMainThread } from "./inherited_fd.ts";
import { fromNode } from "./node_error.ts";

/** How often Deno is made to accept once more, as long as the longest pause of an acceptor. */
const POKE_MS = 100;

/** The queue of the kernel, which caps it at net.core.somaxconn. node:net adds one. */
const BACKLOG = 4095;

/** Smaller than that of a child: a server may have many connections. */
const BUFFER_SIZE = 64 * 1024;

/** The codes with which a descriptor is refused that is not a listening Unix stream socket. */
const NOT_LISTENING = ["EBADF", "EINVAL", "ENOTSOCK", "ENOTSUP", "EOPNOTSUPP"];

/** The handle of a `net.Server`, which has no public name. */
interface Handle {
  /** Called for each client, which it accepts. */
  onconnection?(status: number): void;
  onread?: () => void;
  readStart?(): number;
  readStop?(): number;
  /** Returns a duplicate of the descriptor, or -1 if that fails. */
  fdForIpc?(): number;
  open(fd: number): number;
  close(): void;
  constructor: unknown;
}

/** A listener at a descriptor. One call may wait at a time. */
export class FdListener {
  readonly #server: Server;
  readonly #handle: Handle;
  /** Clients that came without a call, where the handle cannot be made to keep them. */
  readonly #early: FdSocket[] = [];
  readonly #poking: ReturnType<typeof setInterval>;
  #waiting: PromiseWithResolvers<FdSocket> | undefined;
  #keepsAlive = true;
  #isClosed = false;

  /**
   * Listens at a descriptor. Closing the listener closes it, and so may a refusal.
   *
   * @param context Makes the errors.
   */
  static async open(context: ErrorContext<null>, fd: number): Promise<FdListener> {
    requireMainThread(context);
    const server = builtin("node:net").createServer({ pauseOnConnect: true, allowHalfOpen: true });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.once("listening", resolve).once("error", reject);
    server.listen({ fd, backlog: BACKLOG });
    try {
      await promise;
    } catch (cause) {
      throw failureToListen(context, cause as Error);
    }
    // Only a TCP socket has an address here.
    if (server.address() === null) return new FdListener(server);
    server.close();
    throw refusalOf(context, new Error("it is a TCP socket"));
  }

  private constructor(server: Server) {
    this.#server = server;
    this.#handle = (server as unknown as { _handle: Handle })._handle;
    const handle = this.#handle;
    const handOver = handle.onconnection;
    handle.onconnection = (status) => {
      if (this.#waiting !== undefined) handOver?.call(handle, status);
    };
    handle.onread = () => {};
    server.on(
      "connection",
      (socket) => this.#deliver(FdSocket.fromStream(socket, undefined, BUFFER_SIZE)),
    );
    server.on("error", (error) => this.#fail(fromNode(error)));
    server.unref();
    this.#poking = setInterval(() => this.#look(), POKE_MS);
    Deno.unrefTimer(this.#poking);
  }

  accept(): Promise<FdSocket> {
    const early = this.#early.shift();
    if (early !== undefined) return Promise.resolve(early);
    if (this.#isClosed) return Promise.reject(closedError());
    this.#waiting = Promise.withResolvers();
    if (this.#keepsAlive) this.#server.ref();
    this.#poke();
    return this.#waiting.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    clearInterval(this.#poking);
    this.#server.close();
    for (const socket of this.#early.splice(0)) socket.close();
    this.#fail(closedError());
  }

  ref(): void {
    this.#keepsAlive = true;
    if (this.#waiting !== undefined) this.#server.ref();
  }

  unref(): void {
    this.#keepsAlive = false;
    this.#server.unref();
  }

  /** Makes Deno accept, and hand over a client that it has accepted ahead. */
  #poke(): void {
    this.#handle.readStart?.();
    this.#handle.readStop?.();
  }

  /** Accepts once more, or fails if this process has no descriptor left for a client. */
  #look(): void {
    if (this.#waiting === undefined) return;
    this.#poke();
    if (this.#hasDescriptors()) return;
    this.#fail(errorOfCode("EMFILE", "Too many open files (os error 24)"));
  }

  /** Reports whether this process may open one more descriptor. */
  #hasDescriptors(): boolean {
    const spare = this.#handle.fdForIpc?.();
    if (spare === undefined) return true;
    if (spare < 0) return false;
    // Another handle closes the duplicate: nothing else closes a bare number.
    const { constructor: Pipe } = this.#handle as { constructor: new (type: number) => Handle };
    const closer = new Pipe(1);
    closer.open(spare);
    closer.close();
    return true;
  }

  #deliver(socket: FdSocket): void {
    const waiting = this.#take();
    if (waiting !== undefined) waiting.resolve(socket);
    else this.#early.push(socket);
  }

  #fail(error: Error): void {
    this.#take()?.reject(error);
  }

  #take(): PromiseWithResolvers<FdSocket> | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!this.#isClosed) this.#server.unref();
    return waiting;
  }
}

function closedError(): Error {
  return new Deno.errors.BadResource("Listener has been closed");
}

function failureToListen(context: ErrorContext<null>, cause: Error): Error {
  const code = codeOf(cause) ?? "";
  if (NOT_LISTENING.includes(code)) return refusalOf(context, cause);
  if (code !== "EEXIST") return context.fail(fromNode(cause));
  const state = "this process uses it already. Pass each descriptor once";
  return Object.assign(context.error(Deno.errors.Busy, state, { cause } as never), { code });
}

function refusalOf(context: ErrorContext<null>, cause: unknown): Error {
  return context.error(
    NotASocket,
    "no listening Unix stream socket is open there. Pass the descriptor that the parent has " +
      "agreed on",
    { code: "ENOTSOCK", cause },
  );
}
