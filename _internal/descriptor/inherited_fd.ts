/** A descriptor that the parent process left open for this one. */

import { NotASocket } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { builtin, hasInternals, internals } from "../base/node.ts";
import { descriptorSockets, type NativeOptions } from "../connection/native_slot.ts";
import type { Transport } from "../connection/socket_connection.ts";
import { FdSocket } from "./fd_socket.ts";
import { PipeSocket } from "./pipe_socket.ts";

/** The descriptor at which a child of `pair()` has its socket. */
export const CHILD_FD = 3;

/**
 * Returns the descriptor at which a child has its socket.
 *
 * @param inherited A descriptor that it inherits by its number.
 */
export function childFdBeside(inherited: number | undefined): number {
  return inherited === CHILD_FD ? CHILD_FD + 1 : CHILD_FD;
}

/**
 * The descriptors taken over before. Once closed, Deno may use the number for another file.
 */
const taken = new Set<number>();

/** Throws in a worker. */
export function requireMainThread(context: ErrorContext<null>): void {
  if (!("WorkerGlobalScope" in globalThis)) return;
  throw context.error(
    Deno.errors.NotSupported,
    "a worker cannot find out whether the main thread has it, and closing it would give its " +
      "number to another file. Take it in the main thread",
  );
}

/** Takes over a descriptor of this process. Closing the transport closes it. */
export function takeOver(
  context: ErrorContext<null>,
  fd: number,
  options: NativeOptions = {},
): Transport {
  const descriptors = descriptorSockets(context, options);
  if (descriptors !== undefined) {
    return takeOnce(context, fd, () => descriptors.takeOver(context, fd));
  }
  return takeOnce(context, fd, () => {
    try {
      requireUnixStream(fd);
      if (hasInternals()) return new PipeSocket(fd);
      const { Socket } = builtin("node:net");
      return new FdSocket((onread) => new Socket({ fd, allowHalfOpen: true, onread }));
    } catch (cause) {
      throw refusalOf(context, cause);
    }
  });
}

/**
 * Throws unless Node counts a descriptor as a pipe, as it does a Unix stream socket. Opening
 * anything else could do it harm.
 */
export function requireUnixStream(fd: number): void {
  // The sandbox of a module has no internals, and opens no descriptors but those of its parent.
  if (!hasInternals()) return;
  const { guessHandleType } = internals<{ guessHandleType(fd: number): string }>("util");
  const type = guessHandleType(fd);
  if (type !== "PIPE") throw new Error(`Node's type of it is ${type}`);
}

/** Opens a descriptor, unless it was taken over before. */
export function takeOnce<T>(context: ErrorContext<null>, fd: number, open: () => T): T {
  requireMainThread(context);
  if (taken.has(fd)) {
    const error = context.error(Deno.errors.Busy, "it was taken over before");
    throw Object.assign(error, { code: "EEXIST" });
  }
  const opened = open();
  taken.add(fd);
  return opened;
}

function refusalOf(context: ErrorContext<null>, cause: unknown): Error {
  return context.error(
    NotASocket,
    "no connected Unix stream socket is open there. Start this program with pair(), or pass the " +
      "descriptor that the parent has agreed on",
    { code: "ENOTSOCK", cause },
  );
}
