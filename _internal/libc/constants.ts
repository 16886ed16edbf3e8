/**
 * The numbers of libc and of the kernel, for Linux (x86_64 and aarch64, glibc and musl) and for
 * macOS. Those for macOS come from its headers, and were not run.
 *
 * A comment names the header: of Linux below `include/uapi/`, of macOS in xnu's `bsd/`.
 */

/** Whether this is macOS. Otherwise it is Linux. */
export const IS_MAC: boolean = Deno.build.os === "darwin";

/** Returns the number of this system. */
function either(linux: number, mac: number): number {
  return IS_MAC ? mac : linux;
}

/** Returns the number of this processor. Linux only. */
function byProcessor(x64: number, arm64: number): number {
  return Deno.build.arch === "x86_64" ? x64 : arm64;
}

// Linux: linux/socket.h and linux/net.h of include/. macOS: sys/socket.h.
export const AF_UNIX = 1;
export const AF_INET = 2;
export const AF_INET6: number = either(10, 30);
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_RAW = 3;
export const SOCK_RDM = 4;
export const SOCK_SEQPACKET = 5;
/** Flags of the type. macOS has none. */
export const SOCK_CLOEXEC: number = either(0o2000000, 0);
export const SOCK_NONBLOCK: number = either(0o4000, 0);

/** The longest name of a socket: `sun_path`. Linux: linux/un.h. macOS: sys/un.h. */
export const SUN_PATH_BYTES: number = either(108, 104);

// Linux: asm-generic/socket.h. macOS: sys/socket.h.
export const SOL_SOCKET: number = either(1, 0xffff);
export const SO_TYPE: number = either(3, 0x1008);
export const SO_ERROR: number = either(4, 0x1007);
export const SO_SNDBUF: number = either(7, 0x1001);
export const SO_RCVBUF: number = either(8, 0x1002);
export const SO_ACCEPTCONN: number = either(30, 2);
/** Linux only. */
export const SO_PASSCRED = 16;
export const SO_PEERCRED = 17;
export const SO_DOMAIN: number = either(39, -1);
export const SO_TIMESTAMP: number = either(29, 0x400);
export const SO_COOKIE = 57;
export const SO_PEERGROUPS = 59;
export const SO_PEERPIDFD = 77;
/** macOS only: sys/un.h. */
export const SOL_LOCAL = 0;
export const LOCAL_PEERCRED = 1;
export const LOCAL_PEERPID = 2;

// Linux: linux/socket.h of include/. macOS: sys/socket.h.
export const MSG_PEEK = 2;
export const MSG_CTRUNC: number = either(8, 0x20);
export const MSG_TRUNC: number = either(0x20, 0x10);
export const MSG_DONTWAIT: number = either(0x40, 0x80);
export const MSG_EOR: number = either(0x80, 8);
export const MSG_NOSIGNAL: number = either(0x4000, 0x80000);
/** Linux only. */
export const MSG_CMSG_CLOEXEC: number = either(0x40000000, 0);
export const SCM_RIGHTS = 1;
/** Linux only. */
export const SCM_CREDENTIALS = 2;
/** Linux 6.5: `include/linux/socket.h`. */
export const SCM_PIDFD = 4;
export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;

// Linux: asm-generic/fcntl.h, and asm/fcntl.h of aarch64. macOS: sys/fcntl.h.
export const F_GETFD = 1;
export const F_SETFD = 2;
export const F_GETFL = 3;
export const F_SETFL = 4;
export const F_DUPFD_CLOEXEC: number = either(1030, 67);
export const FD_CLOEXEC = 1;
export const O_NONBLOCK: number = either(0o4000, 4);
export const O_CLOEXEC: number = either(0o2000000, 0x1000000);
export const O_DIRECTORY: number = either(byProcessor(0o200000, 0o40000), 0x100000);
/** Linux only. */
export const O_PATH = 0o10000000;

// Linux: asm-generic/ioctls.h and linux/sockios.h. macOS: sys/filio.h.
export const FIONREAD: number = either(0x541b, 0x4004667f);
/** Linux only. */
export const SIOCINQ = 0x541b;
export const SIOCOUTQ: number = either(0x5411, -1);

// Linux: asm-generic/poll.h. macOS: sys/poll.h.
export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 0x10;
export const POLLNVAL = 0x20;
export const POLLWRBAND: number = either(0x200, 0x100);
/** Linux only. */
export const POLLRDHUP = 0x2000;

// Linux only: linux/eventpoll.h and linux/eventfd.h.
export const EPOLL_CLOEXEC = 0o2000000;
export const EPOLL_CTL_ADD = 1;
export const EPOLL_CTL_DEL = 2;
export const EPOLL_CTL_MOD = 3;
export const EPOLLONESHOT: number = 1 << 30;
export const EFD_CLOEXEC = 0o2000000;
export const EFD_NONBLOCK = 0o4000;

// Linux only: linux/aio_abi.h.
export const IOCB_CMD_POLL = 5;
export const IOCB_FLAG_RESFD = 1;

// Linux only: the numbers of system calls without a function in libc. x86_64:
// arch/x86/entry/syscalls/syscall_64.tbl. aarch64: asm-generic/unistd.h.
export const SYS_io_setup: number = byProcessor(206, 0);
export const SYS_io_destroy: number = byProcessor(207, 1);
export const SYS_io_submit: number = byProcessor(209, 2);
export const SYS_io_getevents: number = byProcessor(208, 4);
export const SYS_pidfd_send_signal = 424;

// Linux only: linux/netlink.h, linux/sock_diag.h and linux/unix_diag.h. AF_NETLINK is in
// linux/socket.h of include/, and TCP_LISTEN in net/tcp_states.h of include/.
export const AF_NETLINK = 16;
export const NETLINK_SOCK_DIAG = 4;
export const NLM_F_REQUEST = 1;
export const NLM_F_DUMP = 0x300;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;
export const SOCK_DIAG_BY_FAMILY = 20;
export const UDIAG_SHOW_NAME = 1;
export const UDIAG_SHOW_VFS = 2;
export const UNIX_DIAG_NAME = 0;
export const UNIX_DIAG_VFS = 1;
export const TCP_LISTEN = 10;

// macOS only: sys/event.h.
export const EVFILT_READ = -1;
export const EVFILT_WRITE = -2;
export const EV_ADD = 1;
export const EV_DELETE = 2;
export const EV_ONESHOT = 0x10;
export const EV_ERROR = 0x4000;

// Linux: asm-generic/errno-base.h. macOS: sys/errno.h.
export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EBADF = 9;
export const ENOTCONN: number = either(107, 57);
export const ECONNABORTED: number = either(103, 53);
export const EAGAIN: number = either(11, 35);
