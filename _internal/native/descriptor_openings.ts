/** The ways in which a transport with descriptors is opened. */

import { NotASocket } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import type { DescriptorSockets, TransportListener } from "../connection/native_slot.ts";
import {
  AF_UNIX,
  ENOTCONN,
  F_GETFL,
  F_SETFD,
  F_SETFL,
  FD_CLOEXEC,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  O_NONBLOCK,
  SO_ACCEPTCONN,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from "../libc/constants.ts";
import { errnoOf, lastFailure } from "../libc/failure.ts";
import { type Libc, libcIfGranted, requireLibc } from "../libc/library.ts";
import { encodeName } from "../libc/socket_name.ts";
import { numberOption } from "../libc/socket_option.ts";
import { DescriptorListener } from "./descriptor_listener.ts";
import { DescriptorTransport } from "./descriptor_transport.ts";
import { listenersAt } from "./open_sockets.ts";
import { openPair, typeOf } from "./packet_pair.ts";

/** The queue of the kernel, which caps it at net.core.somaxconn. */
const BACKLOG = 4096;

const NOTHING = new Uint8Array(0);

/** Opens transports by system calls. Each owns its descriptor. */
export const descriptors: DescriptorSockets = {
  require: (context) => void requireLibc(context),
  connect(path) {
    const libc = libcIfGranted()!;
    const fd = libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) throw lastFailure(libc);
    const transport = own(libc, fd);
    const address = encodeName(path);
    if (libc.connect(fd, address, address.length) === 0) return transport;
    const failure = lastFailure(libc);
    transport.close();
    throw failure;
  },
  listen(path, backlog) {
    const { listener, fd } = listenAndFind(path, backlog);
    return new DescriptorListener(libcIfGranted()!, fd, () => listener.close());
  },
  listenAt,
  pair(context) {
    const libc = requireLibc(context);
    const [ours, theirs] = openPair(context, libc, AF_UNIX, SOCK_STREAM, 0);
    return { transport: own(libc, ours), fd: theirs, closeFd: () => void libc.close(theirs) };
  },
  takeOver(context, fd) {
    const libc = requireLibc(context);
    if (isConnection(libc, fd)) return own(libc, fd);
    const state =
      "no connected Unix stream socket is open there. Start this program with pair(), " +
      "or pass the descriptor that the parent has agreed on";
    throw context.error(NotASocket, state, { code: "ENOTSOCK" });
  },
};

/**
 * Listens with Deno's own API, and finds the descriptor.
 *
 * @param backlog How many clients may wait; `undefined` for Deno's number.
 */
export function listenAndFind(
  path: string,
  backlog: number | undefined,
): { listener: Deno.UnixListener; fd: number } {
  const libc = libcIfGranted()!;
  const before = listenersAt(libc, [path]).map(({ cookie }) => cookie);
  const listener = Deno.listen({ transport: "unix", path });
  try {
    const found = listenersAt(libc, [path]).filter(({ cookie }) => !before.includes(cookie));
    if (found.length !== 1) {
      const message = "Deno's listener could not be found among its descriptors";
      throw new Deno.errors.NotSupported(message);
    }
    const { fd } = found[0]!;
    if (backlog !== undefined && libc.listen(fd, backlog) < 0) throw lastFailure(libc);
    return { listener, fd };
  } catch (error) {
    listener.close();
    throw error;
  }
}

/** Returns a transport over a descriptor, which it owns from here on. */
export function own(libc: Libc, fd: number): DescriptorTransport {
  if (SOCK_CLOEXEC === 0) libc.fcntl(fd, F_SETFD, FD_CLOEXEC);
  return new DescriptorTransport(libc, fd);
}

/** Reports whether a descriptor is a Unix stream socket that is, or was, connected. */
export function isConnection(libc: Libc, fd: number): boolean {
  if (typeOf(libc, fd) !== "stream" || numberOption(libc, fd, SO_ACCEPTCONN) !== 0) return false;
  // Nothing is sent. After the peer has closed, it fails with EPIPE, or not at all.
  const count = libc.send(fd, NOTHING, 0n, MSG_DONTWAIT | MSG_NOSIGNAL);
  return count === 0 || errnoOf(libc) !== ENOTCONN;
}

/** Listens at a descriptor, which the listener owns from here on. */
function listenAt(context: ErrorContext<null>, fd: number): TransportListener {
  const libc = requireLibc(context);
  if (typeOf(libc, fd) !== "stream" || libc.listen(fd, BACKLOG) < 0) {
    const state = "no listening Unix stream socket is open there. Pass the descriptor that the " +
      "parent has agreed on";
    throw context.error(NotASocket, state, { code: "ENOTSOCK" });
  }
  // Another process may accept the client that an accept has been told of.
  libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) | O_NONBLOCK);
  return new DescriptorListener(libc, fd, () => void libc.close(fd));
}
