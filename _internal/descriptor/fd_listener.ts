/**
 * A listener at a descriptor that this process was given, over a handle of node:net. It behaves
 * like a `Deno.UnixListener`, which cannot be opened there.
 *
 * - Closing leaves the path alone, and the descriptor open in every other process that has it.
 * - A handle cannot give its descriptor back. So one that is refused is kept, and never closed.
 */

import { NotASocket } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { pipeClass, SERVER, SOCKET } from "../base/node.ts";
import { FdSocket } from "./fd_socket.ts";
import { inheritable } from "./inheritable.ts";
import { requireMainThread, requireUnixStream } from "./inherited_fd.ts";
import { failureOf, noDescriptorLeft } from "./node_error.ts";
import { PokedListener } from "./poked_listener.ts";

/** The queue of the kernel, which caps it at net.core.somaxconn. The handle adds one. */
export const GIVEN_BACKLOG = 4095;

/** Smaller than that of a child: a server may have many connections. */
const BUFFER_SIZE = 64 * 1024;

/**
 * The handle of a Unix stream socket in node:net. Its calls return 0, or a negative error number.
 */
export interface Handle {
  readonly fd: number;
  /** Called while a client that was accepted waits in the handle. */
  onconnection?: (status: number) => void;
  onread?: () => void;
  bind(path: string): number;
  open(fd: number): number;
  listen(backlog: number): number;
  accept(client: Handle): number;
  readStart(): number;
  readStop(): number;
  /** Returns a duplicate of the descriptor, or -1 if none is left. */
  fdForIpc(): number;
  ref(): void;
  unref(): void;
  close(): void;
}

/** The handles that do not listen, by their descriptors. The next try finds its own again. */
const unused = new Map<number, Handle>();

/** A listener at a descriptor. One call may wait at a time. */
export class FdListener extends PokedListener {
  readonly #handle: Handle;
  #keepsAlive = true;

  /**
   * Listens at a descriptor. Closing the listener closes it.
   *
   * @param context Makes the errors.
   */
  static open(context: ErrorContext<null>, fd: number): FdListener {
    return new FdListener(openListening(context, fd, (handle) => handle.listen(GIVEN_BACKLOG)));
  }

  private constructor(handle: Handle) {
    super(handle);
    this.#handle = handle;
    handle.onconnection = (status) => this.#take(status);
    handle.onread = () => {};
    handle.unref();
  }

  ref(): void {
    this.#keepsAlive = true;
    if (this.isWaiting) this.waitBegins();
  }

  unref(): void {
    this.#keepsAlive = false;
    this.waitEnds();
  }

  protected override waitBegins(): void {
    if (this.#keepsAlive && this.isListening) this.#handle.ref();
  }

  protected override waitEnds(): void {
    if (this.isListening) this.#handle.unref();
  }

  protected override lackOfDescriptors(): unknown {
    const spare = this.#handle.fdForIpc();
    if (spare < 0) return noDescriptorLeft();
    // Another handle closes the duplicate: nothing else closes a bare number.
    const closer = new (pipeClass<Handle>())(SERVER);
    closer.open(spare);
    closer.close();
    return undefined;
  }

  protected override endListening(): void {
    inheritable.delete(this.#handle.fd);
    this.#handle.close();
  }

  /** Takes a client out of the handle, if it may pass one. */
  #take(status: number): void {
    if (!this.takesClient) return;
    const client = new (pipeClass<Handle>())(SOCKET);
    const result = status || this.#handle.accept(client);
    if (result !== 0) this.fail(failureOf(result, "accept"));
    else this.deliver(FdSocket.fromHandle(client, undefined, BUFFER_SIZE));
  }
}

/**
 * Opens a handle at a descriptor that this process was given.
 *
 * @param listen Makes it listen. Returns 0, or a negative error number.
 */
export function openListening(
  context: ErrorContext<null>,
  fd: number,
  listen: (handle: Handle) => number,
): Handle {
  requireMainThread(context);
  try {
    requireUnixStream(fd);
  } catch (cause) {
    throw refusalOf(context, cause);
  }
  const handle = unused.get(fd) ?? openHandle(context, fd);
  unused.set(fd, handle);
  let result: number;
  try {
    result = listen(handle);
  } catch (cause) {
    throw context.fail(cause);
  }
  if (result !== 0) throw refusalOf(context, failureOf(result, "listen"));
  unused.delete(fd);
  inheritable.add(fd);
  return handle;
}

function openHandle(context: ErrorContext<null>, fd: number): Handle {
  const handle = new (pipeClass<Handle>())(SERVER);
  const result = handle.open(fd);
  if (result === 0) return handle;
  const cause = failureOf(result, "open");
  if (cause.code !== "EEXIST") throw context.fail(cause);
  const state = "this process uses it already. Pass each descriptor once";
  throw Object.assign(context.error(Deno.errors.Busy, state, { cause } as never), {
    code: cause.code,
  });
}

function refusalOf(context: ErrorContext<null>, cause: unknown): Error {
  return context.error(
    NotASocket,
    "no listening Unix stream socket is open there. Pass the descriptor that the parent has " +
      "agreed on",
    { code: "ENOTSOCK", cause },
  );
}
