/**
 * The Unix sockets of this network namespace: sock_diag(7), Linux only.
 *
 * `/proc/net/unix` has the names as they are, in lines of text. So a name with a newline can forge
 * any line. These messages have lengths, and they identify the file of a socket.
 */

import {
  AF_NETLINK,
  AF_UNIX,
  MSG_DONTWAIT,
  NETLINK_SOCK_DIAG,
  NLM_F_DUMP,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_DIAG_BY_FAMILY,
  TCP_LISTEN,
  UDIAG_SHOW_NAME,
  UDIAG_SHOW_VFS,
  UNIX_DIAG_NAME,
  UNIX_DIAG_VFS,
} from "./constants.ts";
import { NLATTR, NLMSGHDR, UNIX_DIAG_MSG, UNIX_DIAG_REQ, UNIX_DIAG_VFS as VFS } from "./layouts.ts";
import type { Libc } from "./library.ts";
import { fixedMemory } from "./memory.ts";

/** Twice what the kernel sends at once: `netlink_dump` in net/netlink/af_netlink.c. */
const BUFFER_BYTES = 64 * 1024;

/** A socket with a name. */
export interface NamedSocket {
  /** The name that it was bound to. An abstract name begins with a zero byte. */
  readonly name: Uint8Array;
  /** `SOCK_STREAM`, for example. */
  readonly type: number;
  readonly isListening: boolean;
  /** The inode of the socket itself. */
  readonly inode: number;
  /** The file that it was bound to, wherever that is by now. An abstract name has none. */
  readonly file?: FileId;
}

/** What identifies the file of a socket. */
export interface FileId {
  /** The last 32 bits of its inode. */
  readonly inode: number;
  /** The device, as `stat` returns it. btrfs and some overlays return another one. */
  readonly device: number;
}

/** Returns the sockets that have a name; `undefined` if the kernel does not list them. */
export function namedSockets(libc: Libc): NamedSocket[] | undefined {
  const fd = libc.socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
  if (fd < 0) return undefined;
  try {
    const request = requestForAll();
    if (libc.send(fd, request, BigInt(request.length), 0) < 0) return undefined;
    // By inode: a table that changes meanwhile may list a socket twice.
    const sockets = new Map<number, NamedSocket>();
    const buffer = fixedMemory(BUFFER_BYTES);
    for (;;) {
      const count = libc.recv(fd, buffer, BigInt(buffer.length), MSG_DONTWAIT);
      if (count <= 0) return undefined;
      const received = buffer.subarray(0, count);
      for (const [type, message] of parts(received, NLMSGHDR.bytes, NLMSGHDR.nlmsg_type)) {
        if (type === NLMSG_ERROR) return undefined;
        if (type === NLMSG_DONE) return [...sockets.values()];
        const socket = socketOf(message);
        if (socket !== undefined) sockets.set(socket.inode, socket);
      }
    }
  } finally {
    libc.close(fd);
  }
}

function requestForAll(): Uint8Array<ArrayBuffer> {
  const request = fixedMemory(NLMSGHDR.bytes + UNIX_DIAG_REQ.bytes);
  const view = viewOf(request);
  view.setUint32(NLMSGHDR.nlmsg_len, request.length, true);
  view.setUint16(NLMSGHDR.nlmsg_type, SOCK_DIAG_BY_FAMILY, true);
  view.setUint16(NLMSGHDR.nlmsg_flags, NLM_F_REQUEST | NLM_F_DUMP, true);
  view.setUint8(NLMSGHDR.bytes + UNIX_DIAG_REQ.sdiag_family, AF_UNIX);
  view.setUint32(NLMSGHDR.bytes + UNIX_DIAG_REQ.udiag_states, 0xffffffff, true);
  const show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS;
  view.setUint32(NLMSGHDR.bytes + UNIX_DIAG_REQ.udiag_show, show, true);
  return request;
}

/** Returns the socket that a message describes, if it has a name. */
function socketOf(message: Uint8Array): NamedSocket | undefined {
  const view = viewOf(message);
  const rest = message.subarray(UNIX_DIAG_MSG.bytes);
  const attributes = new Map(parts(rest, NLATTR.bytes, NLATTR.nla_type));
  const name = attributes.get(UNIX_DIAG_NAME);
  if (name === undefined) return undefined;
  const vfs = attributes.get(UNIX_DIAG_VFS);
  return {
    // The buffer is used again.
    name: name.slice(0, name[0] === 0 ? undefined : endOf(name)),
    type: view.getUint8(UNIX_DIAG_MSG.udiag_type),
    isListening: view.getUint8(UNIX_DIAG_MSG.udiag_state) === TCP_LISTEN,
    inode: view.getUint32(UNIX_DIAG_MSG.udiag_ino, true),
    ...(vfs && { file: fileOf(viewOf(vfs)) }),
  };
}

/** The kernel counts the zero byte at the end of a path. */
function endOf(path: Uint8Array): number {
  const end = path.indexOf(0);
  return end < 0 ? path.length : end;
}

function fileOf(vfs: DataView): FileId {
  const device = vfs.getUint32(VFS.udiag_vfs_dev, true);
  // The kernel's own number has 20 bits for the minor one: linux/kdev_t.h of include/. That of
  // `stat` has 8 of them at its end, then 12 bits of the major one, and the others.
  const [major, minor] = [device >>> 20, device & 0xfffff];
  return {
    inode: vfs.getUint32(VFS.udiag_vfs_ino, true),
    device: (minor & 0xff) + major * 0x100 + (minor >>> 8) * 0x100000,
  };
}

/**
 * Yields the type and the content of each part. Its header begins with the length, of which no part
 * needs more than 16 bits. The next part begins at a multiple of 4 bytes.
 */
function* parts(
  bytes: Uint8Array,
  headerBytes: number,
  typeAt: number,
): Generator<[type: number, content: Uint8Array]> {
  const view = viewOf(bytes);
  for (let at = 0; at + headerBytes <= bytes.length;) {
    const length = view.getUint16(at, true);
    if (length < headerBytes) return;
    yield [view.getUint16(at + typeAt, true), bytes.subarray(at + headerBytes, at + length)];
    at += (length + 3) & ~3;
  }
}

function viewOf({ buffer, byteOffset, length }: Uint8Array): DataView {
  return new DataView(buffer, byteOffset, length);
}
