/** Pairs of sockets, and one end of a pair that came from the parent process. */

import { NotASocket } from "../../errors.ts";
import type { PacketSocket, PacketType } from "../../native/packet_socket.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { builtin } from "../base/node.ts";
import { FdSocket } from "../descriptor/fd_socket.ts";
import { unnamedConnection } from "../child/unnamed_connection.ts";
import type { ChildPackets } from "../connection/native_slot.ts";
import type { SocketConnection } from "../connection/socket_connection.ts";
import {
  AF_UNIX,
  F_SETFD,
  FD_CLOEXEC,
  SO_ACCEPTCONN,
  SO_DOMAIN,
  SO_TYPE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_SEQPACKET,
  SOCK_STREAM,
} from "../libc/constants.ts";
import { lastFailure } from "../libc/failure.ts";
import { type Libc, libcIfGranted, requireLibc } from "../libc/library.ts";
import { numberOption } from "../libc/socket_option.ts";
import { HandlePackets } from "./handle_packets.ts";
import { FdPacketSocket, TransportPacketSocket } from "./packet_socket.ts";

/** The numbers of the types. */
export const TYPES: Readonly<Record<PacketType | "stream", number>> = {
  stream: SOCK_STREAM,
  dgram: SOCK_DGRAM,
  seqpacket: SOCK_SEQPACKET,
};

const fds = new Int32Array(new ArrayBuffer(8));

/** Returns the descriptors of a new pair, which programs that are started do not inherit. */
export function openPair(
  context: ErrorContext<null>,
  libc: Libc,
  family: number,
  type: number,
  protocol: number,
): [number, number] {
  if (libc.socketpair(family, type | SOCK_CLOEXEC, protocol, fds) < 0) {
    throw context.fail(lastFailure(libc));
  }
  const pair = [fds[0]!, fds[1]!] as [number, number];
  if (SOCK_CLOEXEC === 0) { for (const fd of pair) libc.fcntl(fd, F_SETFD, FD_CLOEXEC); }
  return pair;
}

/** Returns what a socket is; `undefined` if it is of another family, or not a socket. */
export function typeOf(libc: Libc, fd: number): keyof typeof TYPES | undefined {
  const type = numberOption(libc, fd, SO_TYPE);
  const isUnix = SO_DOMAIN < 0 || numberOption(libc, fd, SO_DOMAIN) === AF_UNIX;
  const names = Object.keys(TYPES) as (keyof typeof TYPES)[];
  return isUnix ? names.find((name) => TYPES[name] === type) : undefined;
}

/** Returns a connection over the descriptor of a stream socket. Neither end has a name. */
export function streamAt(fd: number): SocketConnection {
  const { Socket } = builtin("node:net");
  return unnamedConnection(
    new FdSocket((onread) => new Socket({ fd, allowHalfOpen: true, onread })),
  );
}

/** Returns a packet socket over a descriptor. Neither end has a name. */
export function unnamedPackets(
  libc: Libc,
  fd: number,
  type: PacketType,
  maxPacketBytes: number | undefined,
): FdPacketSocket {
  const addr = { transport: "unix", path: null } as const;
  return new FdPacketSocket(libc, fd, {
    type,
    localAddr: addr,
    remoteAddr: addr,
    maxPacketBytes,
  });
}

/** Opens a pair of which a child gets one end. */
export function childPackets(
  context: ErrorContext<null>,
  type: PacketType,
  maxPacketBytes: number | undefined,
): ChildPackets {
  const libc = requireLibc(context);
  const [own, others] = openPair(context, libc, AF_UNIX, TYPES[type], 0);
  return {
    socket: unnamedPackets(libc, own, type, maxPacketBytes),
    fd: others,
    closeFd: () => void libc.close(others),
  };
}

/** Takes over a socket that the parent process left at a descriptor. */
export function inheritedPackets(
  context: ErrorContext<null>,
  fd: number,
  type: PacketType,
  maxPacketBytes: number | undefined,
): PacketSocket {
  const libc = libcIfGranted();
  if (libc === undefined) {
    const addr = { transport: "unix", path: null } as const;
    const transport = new HandlePackets(context, fd, type, maxPacketBytes);
    return new TransportPacketSocket(transport, { type, localAddr: addr, remoteAddr: addr });
  }
  const found = typeOf(libc, fd);
  if (found !== type || numberOption(libc, fd, SO_ACCEPTCONN) === 1) {
    const state = found === undefined
      ? `no Unix domain socket is open there`
      : `it is a ${found} socket, not a connected ${type} one`;
    const remedy = "Start this program with pair() and the same type";
    throw context.error(NotASocket, `${state}. ${remedy}`, { code: "ENOTSOCK" });
  }
  // Programs that this process starts do not inherit it.
  libc.fcntl(fd, F_SETFD, FD_CLOEXEC);
  return unnamedPackets(libc, fd, type, maxPacketBytes);
}
