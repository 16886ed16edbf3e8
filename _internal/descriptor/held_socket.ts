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
import { delay, onAbort, turn } from "../base/event_loop.ts";
import { internals, pipeClass, SERVER, SOCKET } from "../base/node.ts";
import { GIVEN_BACKLOG, type Handle, openListening } from "./fd_listener.ts";
import { inheritable } from "./inheritable.ts";
import { failureOf, noDescriptorLeft } from "./node_error.ts";

type HandleClass = new (type: number) => Handle;

/** As many as Deno's own listeners have. */
const BACKLOG = 1023;

/**
 * How many turns of the event loop show no client before the backlog counts as empty. In an idle
 * process a client shows after one.
 */
const EMPTY_TURNS = 40;
/**
 * The pause between two looks at a backlog that is not empty. Deno closes the descriptor of a look
 * some turns later.
 */
const BUSY_PAUSE_MS = 10;

/** A socket that others accept from. */
export class HeldSocket implements Disposable {
  /** The length of its queue. */
  readonly backlog: number;
  #handle: Handle;
  /**
   * Another handle on a socket with a path. It is opened at the start, because later no descriptor
   * may be left.
   */
  readonly #kept: Handle | undefined;

  private constructor(handle: Handle, backlog: number, kept?: Handle) {
    this.#handle = handle;
    this.backlog = backlog;
    this.#kept = kept;
  }

  /** Binds a path. Clients are refused until {@linkcode listen}. */
  static bind(path: string): HeldSocket {
    const Pipe = pipeClass<Handle>();
    const handle = new Pipe(SERVER);
    check("bind", handle.bind(path));
    try {
      const socket = new HeldSocket(handle, BACKLOG, duplicate(handle, Pipe, SERVER));
      inheritable.add(socket.fd);
      return socket;
    } catch (error) {
      handle.close();
      throw error;
    }
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
    const listener = duplicate(this.#handle, pipeClass(), SERVER);
    const result = listener.listen(this.backlog);
    listener.close();
    return result;
  }

  /** Unlinks whatever is at the path that was bound, and keeps the socket. Call it once. */
  leavePath(): void {
    inheritable.delete(this.fd);
    this.#handle.close();
    // Children do not inherit a duplicate.
    this.#handle = this.#kept!;
  }

  /** Its descriptor. */
  get fd(): number {
    return this.#handle.fd;
  }

  /** Resolves when a client waits in the backlog, or when the signal aborts. */
  async clientWaits(signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const stop = onAbort(signal, resolve);
    using _watch = this.#watch(resolve);
    await promise;
    stop();
  }

  /**
   * Resolves when no client waits in the backlog, or when the signal aborts. Others must accept
   * meanwhile.
   *
   * @param limit The longest time, in milliseconds: clients may keep coming.
   */
  async untilEmpty(signal: AbortSignal, limit: number): Promise<void> {
    const start = performance.now();
    const isOver = () => signal.aborted || performance.now() - start > limit;
    for (let isEmpty = false; !isEmpty && !isOver();) {
      isEmpty = true;
      using _watch = this.#watchIfPossible(() => isEmpty = false);
      for (let turns = 0; turns < EMPTY_TURNS && isEmpty && !isOver(); turns++) await turn();
      if (!isEmpty) await delay(BUSY_PAUSE_MS, signal).catch(() => {});
    }
  }

  /** Calls back when a client waits. Dispose of it to end that. */
  #watch(onClient: () => void): Disposable {
    // A new one each time: Deno does not notice that the last client was accepted elsewhere.
    const { TCP } = internals<{ TCP: HandleClass }>("tcp_wrap");
    const watch = duplicate(this.#handle, TCP, SOCKET);
    watch.onread = onClient;
    watch.readStart();
    return { [Symbol.dispose]: () => watch.close() };
  }

  /**
   * Calls back when a client waits. Returns nothing if no descriptor is left: the backlog then
   * counts as empty.
   */
  #watchIfPossible(onClient: () => void): Disposable | undefined {
    try {
      return this.#watch(onClient);
    } catch {
      return undefined;
    }
  }

  /** Does nothing: the end of this process closes it. */
  [Symbol.dispose](): void {}

  /** Closes it, after {@linkcode leavePath}. */
  close(): void {
    inheritable.delete(this.fd);
    this.#handle.close();
  }
}

/** Opens another handle on the socket of a handle. */
function duplicate(handle: Handle, Class: HandleClass, type: number): Handle {
  const fd = handle.fdForIpc();
  if (fd < 0) throw noDescriptorLeft();
  const other = new Class(type);
  check("open", other.open(fd));
  return other;
}

/** Throws if a call has failed. */
function check(call: string, result: number): void {
  if (result !== 0) throw failureOf(result, call);
}
