/**
 * A socket of libc's at a path: its permissions, its bind, its connect.
 *
 * Deno does not check what libc does with a path, so each of these calls requires the permissions
 * that Deno's own one would need.
 */

import { isSocketError, NotASocket } from "../../errors.ts";
import type { PacketSocket, PacketType } from "../../native/packet_socket.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { codeOf } from "../base/failure.ts";
import { socketPermissions } from "../base/socket_permissions.ts";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_NONBLOCK } from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import type { Libc } from "../libc/library.ts";
import { encodeName, ownName } from "../libc/socket_name.ts";
import { connectRefusal } from "../path/connect_refusal.ts";
import { TYPES } from "./packet_pair.ts";
import { FdPacketSocket } from "./packet_socket.ts";

/** Returns a new socket, which does not block. */
export function openSocket(libc: Libc, type: PacketType): number {
  const fd = libc.socket(AF_UNIX, TYPES[type] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) throw lastFailure(libc);
  return fd;
}

/** Calls a function with a new socket. If it throws, the socket is closed. */
export function withSocket<T>(libc: Libc, type: PacketType, use: (fd: number) => T): T {
  const fd = openSocket(libc, type);
  try {
    return use(fd);
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** Binds a socket to a path. */
export function bindTo(libc: Libc, fd: number, path: string): void {
  const address = encodeName(path);
  if (libc.bind(fd, address, address.length) < 0) throw lastFailure(libc);
}

/** Connects a socket, which takes no time: the kernel answers at once. */
export function connectTo(libc: Libc, fd: number, path: string): void {
  const address = encodeName(path);
  if (libc.connect(fd, address, address.length) < 0) throw lastFailure(libc);
}

/** `struct sockaddr_un` without a name: the system then chooses an abstract one (unix(7)). */
const NO_NAME_BYTES = 2;

/** Binds a socket to an abstract name that the system chooses. */
export function autobind(libc: Libc, fd: number): void {
  if (libc.bind(fd, encodeName(""), NO_NAME_BYTES) < 0) throw lastFailure(libc);
}

/** Returns the descriptor of a datagram socket without a path. */
export function openUnnamed(libc: Libc, context: ErrorContext<null>, isNamed: boolean): number {
  try {
    return withSocket(libc, "dgram", (fd) => {
      if (isNamed) autobind(libc, fd);
      return fd;
    });
  } catch (cause) {
    throw context.fail(cause);
  }
}

/** How to connect. */
interface ConnectedOptions {
  readonly type: PacketType;
  readonly autobind: boolean;
  readonly maxPacketBytes: number | undefined;
}

/** Connects once, if this process may. */
export function openConnected(
  libc: Libc,
  context: ErrorContext,
  options: ConnectedOptions,
): PacketSocket {
  context.require(socketPermissions("connect", context.path, {}));
  const { type, maxPacketBytes } = options;
  return withSocket(libc, type, (fd) => {
    if (options.autobind) autobind(libc, fd);
    connectTo(libc, fd, context.path);
    return new FdPacketSocket(libc, fd, {
      type,
      localAddr: { transport: "unix", path: ownName(libc, fd) || null },
      remoteAddr: { transport: "unix", path: context.path },
      maxPacketBytes,
    });
  });
}

/**
 * Returns the error for a refused connection or packet.
 *
 * @param cause What was thrown.
 */
export function packetRefusal(
  context: ErrorContext,
  cause: unknown,
  libc: Libc,
  type: PacketType,
): Error {
  if (cause instanceof Deno.errors.NotCapable) {
    // Deno's own refusal, while the owner of the file was examined.
    if (!isSocketError(cause)) {
      context.require(socketPermissions("connect", context.path, {}), true);
    }
    return cause;
  }
  if (codeOf(cause) === "EPERM" && type === "dgram") {
    return context.fail(
      cause,
      "it is connected to another socket, and receives only from it",
    );
  }
  if (codeOf(cause) !== "EPROTOTYPE") return connectRefusal(context, cause);
  const state = type === "dgram"
    ? "it is a stream or sequenced-packet socket, not a datagram socket. Connect to it with " +
      "connect() or connectPackets()"
    : isDatagramSocket(libc, context.path)
    ? "it is a datagram socket, not a sequenced-packet socket. Send to it with bindPackets()"
    : "it is a stream socket, not a sequenced-packet socket. Connect to it with connect()";
  return context.error(NotASocket, state, { cause });
}

/** Reports whether a datagram socket is at a path, which does not notice that. */
function isDatagramSocket(libc: Libc, path: string): boolean {
  const fd = openSocket(libc, "dgram");
  try {
    connectTo(libc, fd, path);
    return true;
  } catch (error) {
    // It is connected to another socket.
    return codeOf(error) === "EPERM";
  } finally {
    libc.close(fd);
  }
}
