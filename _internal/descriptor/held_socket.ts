/**
 * A listening socket that this process holds and never accepts from: another one does, which gets
 * its descriptor.
 *
 * - Deno's listeners accept at once. So a handle of node:net binds the path, a second one makes the
 *   socket listen and is closed in the same turn of the event loop, before it accepts.
 * - Another one reads from it. Deno waits until a client is there, and then the system refuses to
 *   read from a socket that listens. That refusal shows that a client waits.
 * - Closing a handle that has bound a path removes whatever is there by then: see {@linkcode
 *   HeldSocket.leavePath}.
 */

import type { ErrorContext } from "../base/error_context.ts";
import { onAbort } from "../base/event_loop.ts";
import { internals, pipeClass, SERVER, SOCKET } from "../base/node.ts";
import { GIVEN_BACKLOG, type Handle, openListening } from "./fd_listener.ts";
import { inheritable } from "./inheritable.ts";
import { failureOf, noDescriptorLeft } from "./node_error.ts";

type HandleClass = new (type: number) => Handle;

/** As many as Deno's own listeners have. */
const BACKLOG = 1023;

/** A socket that others accept from. */
export class HeldSocket implements Disposable {
  /** The length of its queue. */
  readonly backlog: number;
  #bound: Handle;
  readonly #Pipe: HandleClass = pipeClass();
  #refuser: Handle | undefined;

  private constructor(bound: Handle, backlog: number) {
    this.#bound = bound;
    this.backlog = backlog;
  }

  /** Binds a path. Clients are refused until {@linkcode listen}. */
  static bind(path: string): HeldSocket {
    const handle = new (pipeClass<Handle>())(SERVER);
    check("bind", handle.bind(path));
    inheritable.add(handle.fd);
    return new HeldSocket(handle, BACKLOG);
  }

  /** Takes over a listening socket that this process was given. */
  static given(context: ErrorContext<null>, fd: number): HeldSocket {
    let socket!: HeldSocket;
    openListening(context, fd, (handle) => {
      socket = new HeldSocket(handle, GIVEN_BACKLOG);
      return socket.#listen();
    });
    return socket;
  }

  /** Listens: from now on clients can connect. */
  listen(): void {
    check("listen", this.#listen());
  }

  #listen(): number {
    const listener = this.#open(this.#Pipe, SERVER);
    const result = listener.listen(this.backlog);
    listener.close();
    return result;
  }

  /** Closes the clients that wait, and those that come. Call it once. */
  refuse(): void {
    const listener = this.#open(this.#Pipe, SERVER);
    listener.onconnection = () => {
      const client = new this.#Pipe(SOCKET);
      if (listener.accept(client) === 0) client.close();
    };
    this.#refuser = listener;
    check("listen", listener.listen(this.backlog));
  }

  /** Unlinks whatever is at the path that was bound, and keeps the socket. */
  leavePath(): void {
    // Children do not inherit a duplicate.
    const kept = this.#open(this.#Pipe, SERVER);
    inheritable.delete(this.fd);
    this.#bound.close();
    this.#bound = kept;
  }

  /** Its descriptor. */
  get fd(): number {
    return this.#bound.fd;
  }

  /** Opens another handle on it. */
  #open(Class: HandleClass, type: number): Handle {
    const fd = this.#bound.fdForIpc();
    if (fd < 0) throw noDescriptorLeft();
    const handle = new Class(type);
    check("open", handle.open(fd));
    return handle;
  }

  /** Resolves when a client waits in the backlog, or when the signal aborts. */
  async clientWaits(signal: AbortSignal): Promise<void> {
    // A new one each time: Deno does not notice that the last client was accepted elsewhere.
    const watch = this.#open(internals<{ TCP: HandleClass }>("tcp_wrap").TCP, SOCKET);
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = onAbort(signal, resolve);
    watch.onread = resolve;
    watch.readStart();
    await promise;
    stop();
    watch.close();
  }

  /** Does nothing: the end of this process closes it. */
  [Symbol.dispose](): void {}

  /** Closes it, after {@linkcode leavePath}. */
  close(): void {
    inheritable.delete(this.fd);
    this.#bound.close();
    this.#refuser?.close();
  }
}

/** Throws if a call has failed. */
function check(call: string, result: number): void {
  if (result !== 0) throw failureOf(result, call);
}
