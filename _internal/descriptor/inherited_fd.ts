/** A descriptor that the parent process left open for this one. */

import type { Socket } from "node:net";
import { NotASocket } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { builtin } from "../base/node.ts";
import { descriptorSockets, type NativeOptions } from "../connection/native_slot.ts";
import type { Transport } from "../connection/socket_connection.ts";
import { FdSocket } from "./fd_socket.ts";

/** The descriptor at which a child of `pair()` has its socket. */
export const CHILD_FD = 3;

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
  const { Socket } = builtin("node:net");
  let socket: Socket | undefined;
  const adopted = takeOnce(context, fd, () => {
    try {
      return new FdSocket((onread) => socket = new Socket({ fd, allowHalfOpen: true, onread }));
    } catch (cause) {
      throw refusalOf(context, cause);
    }
  });
  // Only a TCP socket has a port.
  if (socket?.localPort === undefined) return adopted;
  adopted.close();
  throw refusalOf(context, new Error("it is a TCP socket"));
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
