/**
 * A listener at a descriptor that this process was given, over a handle of node:net. It behaves
 * like a `Deno.UnixListener`, which cannot be opened there.
 *
 * - Deno accepts without being asked: a few dozen clients at most, which stay in the handle until a
 *   call waits.
 * - After one failed accept, Deno never accepts there again, and reports nothing. A call that looks
 *   like a read makes it accept once more: see {@linkcode FdListener.#poke}.
 * - Closing leaves the path alone, and the descriptor open in every other process that has it.
 * - A handle cannot give its descriptor back. So one that is refused is kept, and never closed.
 */

import { NotASocket } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { turn } from "../base/event_loop.ts";
import { builtin, internals } from "../base/node.ts";
import { errorOfCode } from "../base/system_code.ts";
import { FdSocket } from "./fd_socket.ts";
import { requireMainThread, requireUnixStream } from "./inherited_fd.ts";

/** How often Deno is made to accept once more, as long as the longest pause of an acceptor. */
const POKE_MS = 100;

/** The queue of the kernel, which caps it at net.core.somaxconn. The handle adds one. */
const BACKLOG = 4095;

/** Smaller than that of a child: a server may have many connections. */
const BUFFER_SIZE = 64 * 1024;

/**
 * The handle of a Unix stream socket in node:net. Its calls return 0, or a negative error number.
 */
interface Handle {
  /** Called while a client that was accepted waits in the handle. */
  onconnection?: (status: number) => void;
  onread?: () => void;
  open(fd: number): number;
  listen(backlog: number): number;
  accept(client: Handle): number;
  readStart(): number;
  readStop(): number;
  /** Returns a duplicate of the descriptor, or a negative number if that fails. */
  fdForIpc(): number;
  ref(): void;
  unref(): void;
  close(): void;
}

/** The types of a handle. */
const SOCKET = 0;
const SERVER = 1;

/** The handles of descriptors that were refused. */
const refused = new Map<number, Handle>();

/** A listener at a descriptor. One call may wait at a time. */
export class FdListener {
  readonly #handle: Handle;
  readonly #poking: ReturnType<typeof setInterval>;
  /** Clients that came without a call, when it retires. */
  readonly #early: FdSocket[] = [];
  #waiting: PromiseWithResolvers<FdSocket> | undefined;
  #keepsAlive = true;
  #isRetiring = false;
  #isListening = true;
  #isClosed = false;

  /**
   * Listens at a descriptor. Closing the listener closes it.
   *
   * @param context Makes the errors.
   */
  static open(context: ErrorContext<null>, fd: number): FdListener {
    requireMainThread(context);
    try {
      requireUnixStream(fd);
    } catch (cause) {
      throw refusalOf(context, cause);
    }
    const handle = refused.get(fd) ?? openHandle(context, fd);
    const result = handle.listen(BACKLOG);
    if (result !== 0) {
      refused.set(fd, handle);
      throw refusalOf(context, failureOf(result, "listen"));
    }
    refused.delete(fd);
    return new FdListener(handle);
  }

  private constructor(handle: Handle) {
    this.#handle = handle;
    handle.onconnection = (status) => this.#take(status);
    handle.onread = () => {};
    handle.unref();
    this.#poking = setInterval(() => this.#look(), POKE_MS);
    Deno.unrefTimer(this.#poking);
  }

  accept(): Promise<FdSocket> {
    const early = this.#early.shift();
    if (early !== undefined) return Promise.resolve(early);
    if (this.#isClosed) return Promise.reject(closedError());
    this.#waiting = Promise.withResolvers();
    const { promise } = this.#waiting;
    if (this.#keepsAlive && this.#isListening) this.#handle.ref();
    this.#poke();
    return promise;
  }

  /**
   * Accepts no more, and leaves the backlog to others. Resolves when the clients are taken that
   * Deno has accepted ahead. Another caller must accept meanwhile.
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
    this.#endListening();
    this.#isClosed = true;
    for (const socket of this.#early.splice(0)) socket.close();
    this.#settle()?.reject(closedError());
  }

  ref(): void {
    this.#keepsAlive = true;
    if (this.#waiting !== undefined && this.#isListening) this.#handle.ref();
  }

  unref(): void {
    this.#keepsAlive = false;
    if (this.#isListening) this.#handle.unref();
  }

  /** Makes Deno accept, and hand over a client that it has accepted ahead. */
  #poke(): void {
    if (!this.#isListening) return;
    this.#handle.readStart();
    this.#handle.readStop();
  }

  /** Accepts once more, or fails if this process has no descriptor left for a client. */
  #look(): void {
    if (this.#waiting === undefined) return;
    this.#poke();
    if (this.#hasDescriptors()) return;
    this.#settle()?.reject(errorOfCode("EMFILE", "Too many open files (os error 24)"));
  }

  /** Reports whether this process may open one more descriptor. */
  #hasDescriptors(): boolean {
    const spare = this.#handle.fdForIpc();
    if (spare < 0) return false;
    // Another handle closes the duplicate: nothing else closes a bare number.
    const closer = newHandle(SERVER);
    closer.open(spare);
    closer.close();
    return true;
  }

  /** Takes a client out of the handle, if a call waits or it retires. */
  #take(status: number): void {
    if (this.#waiting === undefined && !this.#isRetiring) return;
    const client = newHandle(SOCKET);
    const result = status || this.#handle.accept(client);
    const waiting = this.#settle();
    if (result !== 0) return waiting?.reject(failureOf(result, "accept"));
    const socket = FdSocket.fromHandle(client, undefined, BUFFER_SIZE);
    if (waiting === undefined) this.#early.push(socket);
    else waiting.resolve(socket);
  }

  #endListening(): void {
    if (!this.#isListening) return;
    this.#isListening = false;
    clearInterval(this.#poking);
    this.#handle.close();
  }

  /** Ends the wait of a call, and returns its promise. */
  #settle(): PromiseWithResolvers<FdSocket> | undefined {
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (this.#isListening) this.#handle.unref();
    return waiting;
  }
}

function newHandle(type: number): Handle {
  const { Pipe } = internals<{ Pipe: new (type: number) => Handle }>("pipe_wrap");
  return new Pipe(type);
}

function openHandle(context: ErrorContext<null>, fd: number): Handle {
  const handle = newHandle(SERVER);
  const result = handle.open(fd);
  if (result === 0) return handle;
  const cause = failureOf(result, "open") as Error & { code: string };
  if (cause.code !== "EEXIST") throw context.fail(cause);
  const state = "this process uses it already. Pass each descriptor once";
  throw Object.assign(context.error(Deno.errors.Busy, state, { cause } as never), {
    code: cause.code,
  });
}

/** Returns the error of a call of a handle. */
function failureOf(result: number, call: string): Error {
  const code = builtin("node:util").getSystemErrorName(result);
  return errorOfCode(code, `${call} ${code}`);
}

function closedError(): Error {
  return new Deno.errors.BadResource("Listener has been closed");
}

function refusalOf(context: ErrorContext<null>, cause: unknown): Error {
  return context.error(
    NotASocket,
    "no listening Unix stream socket is open there. Pass the descriptor that the parent has " +
      "agreed on",
    { code: "ENOTSOCK", cause },
  );
}
