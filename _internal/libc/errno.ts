/**
 * The names of the numbers in `errno`. Those that are missing have none in an error, only the words
 * of the system.
 *
 * Linux: asm-generic/errno-base.h and asm-generic/errno.h. macOS: sys/errno.h.
 */

import { IS_MAC } from "./constants.ts";

/** The names of 1 to 34, which both systems have in common, apart from 11. */
const COMMON = `EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES
  EFAULT ENOTBLK EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG
  ENOSPC ESPIPE EROFS EMLINK EPIPE EDOM ERANGE`.split(/\s+/);

/** The others that a call on a socket, a path or a descriptor has. */
const OTHERS: Record<string, [linux: number, mac: number]> = {
  EDEADLK: [35, 11],
  ENAMETOOLONG: [36, 63],
  ENOLCK: [37, 77],
  ENOSYS: [38, 78],
  ELOOP: [40, 62],
  ENODATA: [61, 96],
  EPROTO: [71, 100],
  EBADMSG: [74, 94],
  EOVERFLOW: [75, 84],
  ENOTSOCK: [88, 38],
  EDESTADDRREQ: [89, 39],
  EMSGSIZE: [90, 40],
  EPROTOTYPE: [91, 41],
  ENOPROTOOPT: [92, 42],
  EPROTONOSUPPORT: [93, 43],
  ESOCKTNOSUPPORT: [94, 44],
  EOPNOTSUPP: [95, 102],
  EPFNOSUPPORT: [96, 46],
  EAFNOSUPPORT: [97, 47],
  EADDRINUSE: [98, 48],
  EADDRNOTAVAIL: [99, 49],
  ENETDOWN: [100, 50],
  ENETUNREACH: [101, 51],
  ECONNABORTED: [103, 53],
  ECONNRESET: [104, 54],
  ENOBUFS: [105, 55],
  EISCONN: [106, 56],
  ENOTCONN: [107, 57],
  ESHUTDOWN: [108, 58],
  ETOOMANYREFS: [109, 59],
  ETIMEDOUT: [110, 60],
  ECONNREFUSED: [111, 61],
  EHOSTDOWN: [112, 64],
  EHOSTUNREACH: [113, 65],
  EALREADY: [114, 37],
  EINPROGRESS: [115, 36],
  ESTALE: [116, 70],
  EDQUOT: [122, 69],
};

/** The names of this system, by number. */
export const ERRNO_NAMES: ReadonlyMap<number, string> = new Map([
  ...COMMON.map((name, i): [number, string] => [i + 1, name]),
  ...Object.entries(OTHERS).map(([name, [linux, mac]]): [number, string] => [
    IS_MAC ? mac : linux,
    name,
  ]),
  ...(IS_MAC ? [[35, "EAGAIN"] as [number, string]] : []),
]);
