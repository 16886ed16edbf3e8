/**
 * The layouts of structures, in bytes: their size, and the offset of each field. Numbers in them
 * are little endian.
 *
 * - Linux: those of x86_64 and aarch64 agree in all but `epoll_event`. glibc and musl agree, too:
 *   where musl has an `int` and padding, glibc has a `size_t`.
 * - macOS: from xnu's headers, and not run.
 */

import { IS_MAC, SUN_PATH_BYTES } from "./constants.ts";

/** The layout of a structure. */
type Layout<Field extends string> = Readonly<Record<Field | "bytes", number>>;

/** Returns the layout of this system. */
function either<Field extends string>(linux: Layout<Field>, mac: Layout<Field>): Layout<Field> {
  return IS_MAC ? mac : linux;
}

/** `struct sockaddr_un`. Linux: linux/un.h. macOS: sys/un.h, which begins with a byte of length. */
export const SOCKADDR_UN: Layout<"sun_family" | "sun_path"> = either(
  { bytes: 2 + SUN_PATH_BYTES, sun_family: 0, sun_path: 2 },
  { bytes: 2 + SUN_PATH_BYTES, sun_family: 1, sun_path: 2 },
);

/** `struct iovec`. Linux: linux/uio.h. macOS: sys/_types/_iovec_t.h. */
export const IOVEC: Layout<"iov_base" | "iov_len"> = { bytes: 16, iov_base: 0, iov_len: 8 };

/** `struct msghdr`. Linux: bits/socket.h of glibc. macOS: sys/socket.h. */
export const MSGHDR: Layout<
  | "msg_name"
  | "msg_namelen"
  | "msg_iov"
  | "msg_iovlen"
  | "msg_control"
  | "msg_controllen"
  | "msg_flags"
> = either({
  bytes: 56,
  msg_name: 0,
  msg_namelen: 8,
  msg_iov: 16,
  msg_iovlen: 24,
  msg_control: 32,
  msg_controllen: 40,
  msg_flags: 48,
}, {
  bytes: 48,
  msg_name: 0,
  msg_namelen: 8,
  msg_iov: 16,
  msg_iovlen: 24,
  msg_control: 32,
  msg_controllen: 40,
  msg_flags: 44,
});

/** `struct mmsghdr`, Linux only: a `struct msghdr`, and more. bits/socket.h of glibc. */
export const MMSGHDR: Layout<"msg_len"> = { bytes: 64, msg_len: 56 };

/**
 * `struct cmsghdr`, with the offset of the data and the alignment of the next header. Linux:
 * linux/socket.h of include/. macOS: sys/socket.h.
 */
export const CMSGHDR: Layout<"cmsg_len" | "cmsg_level" | "cmsg_type" | "data" | "alignment"> =
  either(
    { bytes: 16, cmsg_len: 0, cmsg_level: 8, cmsg_type: 12, data: 16, alignment: 8 },
    { bytes: 12, cmsg_len: 0, cmsg_level: 4, cmsg_type: 8, data: 12, alignment: 4 },
  );

/** `struct ucred`, Linux only: linux/socket.h of include/. */
export const UCRED: Layout<"pid" | "uid" | "gid"> = { bytes: 12, pid: 0, uid: 4, gid: 8 };

/** `struct xucred`, macOS only: sys/ucred.h. */
export const XUCRED: Layout<"cr_version" | "cr_uid" | "cr_ngroups" | "cr_groups"> = {
  bytes: 76,
  cr_version: 0,
  cr_uid: 4,
  cr_ngroups: 8,
  cr_groups: 12,
};

/** `struct pollfd`. Linux: asm-generic/poll.h. macOS: sys/poll.h. */
export const POLLFD: Layout<"fd" | "events" | "revents"> = {
  bytes: 8,
  fd: 0,
  events: 4,
  revents: 6,
};

/** `struct epoll_event`, Linux only: linux/eventpoll.h, where it is packed on x86_64 alone. */
export const EPOLL_EVENT: Layout<"events" | "data"> = Deno.build.arch === "x86_64"
  ? { bytes: 12, events: 0, data: 4 }
  : { bytes: 16, events: 0, data: 8 };

/** `struct iocb`, Linux only: linux/aio_abi.h. */
export const IOCB: Layout<
  "aio_lio_opcode" | "aio_fildes" | "aio_buf" | "aio_flags" | "aio_resfd"
> = {
  bytes: 64,
  aio_lio_opcode: 16,
  aio_fildes: 20,
  aio_buf: 24,
  aio_flags: 56,
  aio_resfd: 60,
};

/** `struct io_event`, Linux only: linux/aio_abi.h. */
export const IO_EVENT: Layout<never> = { bytes: 32 };

/** `struct nlmsghdr`, Linux only: linux/netlink.h. */
export const NLMSGHDR: Layout<"nlmsg_len" | "nlmsg_type" | "nlmsg_flags"> = {
  bytes: 16,
  nlmsg_len: 0,
  nlmsg_type: 4,
  nlmsg_flags: 6,
};

/** `struct nlattr`, Linux only: linux/netlink.h. */
export const NLATTR: Layout<"nla_len" | "nla_type"> = { bytes: 4, nla_len: 0, nla_type: 2 };

/** `struct unix_diag_req`, Linux only: linux/unix_diag.h. */
export const UNIX_DIAG_REQ: Layout<"sdiag_family" | "udiag_states" | "udiag_show"> = {
  bytes: 24,
  sdiag_family: 0,
  udiag_states: 4,
  udiag_show: 12,
};

/** `struct unix_diag_msg`, Linux only: linux/unix_diag.h. */
export const UNIX_DIAG_MSG: Layout<"udiag_type" | "udiag_state" | "udiag_ino"> = {
  bytes: 16,
  udiag_type: 1,
  udiag_state: 2,
  udiag_ino: 4,
};

/** `struct unix_diag_vfs`, Linux only: linux/unix_diag.h. */
export const UNIX_DIAG_VFS: Layout<"udiag_vfs_ino" | "udiag_vfs_dev"> = {
  bytes: 8,
  udiag_vfs_ino: 0,
  udiag_vfs_dev: 4,
};

/** `struct kevent`, macOS only: sys/event.h. */
export const KEVENT: Layout<"ident" | "filter" | "flags" | "data"> = {
  bytes: 32,
  ident: 0,
  filter: 8,
  flags: 10,
  data: 16,
};
