/**
 * The numbers of libc and of the kernel, for Linux (x86_64 and aarch64, glibc and musl) and for
 * macOS. The numbers for macOS come from its headers, and were not run.
 *
 * Linux: `include/uapi/asm-generic/{socket,errno-base,fcntl}.h`, `include/linux/socket.h` and
 * `include/uapi/linux/eventpoll.h` of the kernel. x86_64 and aarch64 have the same ones. macOS:
 * `sys/socket.h`, `sys/un.h`, `sys/errno.h`, `sys/fcntl.h` of xnu.
 */

/** Whether this is macOS. Otherwise it is Linux. */
export const IS_MAC: boolean = Deno.build.os === "darwin";

/** Returns the number of this system. */
function either(linux: number, mac: number): number {
  return IS_MAC ? mac : linux;
}

export const AF_UNIX = 1;
export const SOCK_STREAM = 1;
export const SOCK_DGRAM = 2;
export const SOCK_SEQPACKET = 5;
/** Flags of the type. macOS has none. */
export const SOCK_CLOEXEC: number = either(0o2000000, 0);
export const SOCK_NONBLOCK: number = either(0o4000, 0);

/** The longest name of a socket: `sizeof sun_path` in `struct sockaddr_un`. */
export const SUN_PATH_BYTES: number = either(108, 104);

export const SOL_SOCKET: number = either(1, 0xffff);
export const SO_TYPE: number = either(3, 0x1008);
export const SO_ERROR: number = either(4, 0x1007);
export const SO_SNDBUF: number = either(7, 0x1001);
export const SO_RCVBUF: number = either(8, 0x1002);
export const SO_ACCEPTCONN: number = either(30, 2);
export const SO_DOMAIN: number = either(39, -1);
/** Linux only. */
export const SO_PEERCRED = 17;
export const SO_PASSCRED = 16;
export const SO_COOKIE = 57;
export const SO_PEERGROUPS = 59;
export const SO_PEERPIDFD = 77;
/** macOS only: level 0. */
export const SOL_LOCAL = 0;
export const LOCAL_PEERCRED = 1;
export const LOCAL_PEERPID = 2;

export const MSG_PEEK = 2;
export const MSG_DONTWAIT: number = either(0x40, 0x80);
export const MSG_TRUNC: number = either(0x20, 0x10);
export const MSG_CTRUNC: number = either(8, 0x20);
export const MSG_NOSIGNAL: number = either(0x4000, 0x80000);
export const MSG_EOR: number = either(0x80, 8);
/** Linux only. */
export const MSG_CMSG_CLOEXEC: number = either(0x40000000, 0);

export const SCM_RIGHTS = 1;
/** Linux only. */
export const SCM_CREDENTIALS = 2;

export const SHUT_RD = 0;
export const SHUT_WR = 1;
export const SHUT_RDWR = 2;

export const F_SETFD = 2;
export const F_SETFL = 4;
export const F_DUPFD_CLOEXEC: number = either(1030, 67);
export const FD_CLOEXEC = 1;
export const O_NONBLOCK: number = either(0o4000, 4);

/** Linux: `asm-generic/ioctls.h`. macOS: `sys/filio.h`. */
export const FIONREAD: number = either(0x541b, 0x4004667f);
export const SIOCOUTQ: number = either(0x5411, -1);

export const POLLIN = 1;
export const POLLOUT = 4;
export const POLLERR = 8;
export const POLLHUP = 0x10;
/** Linux only. */
export const POLLRDHUP = 0x2000;

export const EINTR = 4;
export const EAGAIN: number = either(11, 35);
