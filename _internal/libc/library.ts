/**
 * libc, opened at its first use.
 *
 * - A permission for the path of the library is enough: `--allow-ffi=/lib/…/libc.so.6`. Deno
 *   compares the text, so the library is opened by exactly that path.
 * - System calls are synchronous, because one takes 0.2 µs and a call on another thread 55 µs. They
 *   must not wait: sockets are read and written with `MSG_DONTWAIT`. `epoll_wait` alone waits, on a
 *   thread of Deno's.
 * - Results are `i32`. A `usize` would be a `bigint`, which is slower and never equal to a number.
 */

import { isGranted } from "../base/deno_permissions.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { messageOf } from "../base/failure.ts";
import { IS_MAC } from "./constants.ts";

/** Memory that a call reads or writes. */
type Memory = Uint8Array | Int32Array | Uint32Array | BigUint64Array;

/** The functions of libc. Those that a system does not have are `null`. */
export interface Libc {
  socket(family: number, type: number, protocol: number): number;
  socketpair(family: number, type: number, protocol: number, fds: Int32Array): number;
  bind(fd: number, address: Memory, bytes: number): number;
  listen(fd: number, backlog: number): number;
  connect(fd: number, address: Memory, bytes: number): number;
  accept4:
    | ((fd: number, address: Memory | null, bytes: Memory | null, flags: number) => number)
    | null;
  getsockname(fd: number, address: Memory, bytes: Uint32Array): number;
  getpeername(fd: number, address: Memory, bytes: Uint32Array): number;
  getsockopt(fd: number, level: number, option: number, value: Memory, bytes: Uint32Array): number;
  setsockopt(fd: number, level: number, option: number, value: Memory, bytes: number): number;
  send(fd: number, data: Memory, bytes: bigint, flags: number): number;
  recv(fd: number, into: Memory, bytes: bigint, flags: number): number;
  sendto(
    fd: number,
    data: Memory,
    bytes: bigint,
    flags: number,
    to: Memory,
    length: number,
  ): number;
  recvfrom(
    fd: number,
    into: Memory,
    bytes: bigint,
    flags: number,
    from: Memory,
    length: Uint32Array,
  ): number;
  sendmsg(fd: number, message: Memory, flags: number): number;
  recvmsg(fd: number, message: Memory, flags: number): number;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  dup(fd: number): number;
  dup2(fd: number, to: number): number;
  sched_yield(): number;
  fcntl(fd: number, command: number, value: number): number;
  ioctl(fd: number, request: bigint, value: Memory): number;
  epoll_create1: ((flags: number) => number) | null;
  epoll_ctl: ((epoll: number, operation: number, fd: number, event: Memory) => number) | null;
  /** Runs on a thread of Deno's. */
  epoll_wait: ((epoll: number, events: Memory, most: number, ms: number) => Promise<number>) | null;
  eventfd: ((count: number, flags: number) => number) | null;
  eventfd_write: ((fd: number, count: bigint) => number) | null;
  eventfd_read: ((fd: number, count: Memory) => number) | null;
  errnoPlace(): Deno.PointerValue;
  copyFrom(into: Memory, from: Deno.PointerValue, bytes: bigint): void;
  addressOf(memory: Memory, same: Memory, zero: bigint): bigint;
  wordsOf(errno: number, into: Memory, bytes: bigint): number;
}

const SYMBOLS: Deno.ForeignLibraryInterface = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  accept4: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32", optional: true },
  getsockname: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getpeername: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  getsockopt: { parameters: ["i32", "i32", "i32", "buffer", "buffer"], result: "i32" },
  setsockopt: { parameters: ["i32", "i32", "i32", "buffer", "u32"], result: "i32" },
  send: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  recv: { parameters: ["i32", "buffer", "usize", "i32"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "i32" },
  recvfrom: {
    parameters: ["i32", "buffer", "usize", "i32", "buffer", "buffer"],
    result: "i32",
  },
  sendmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  recvmsg: { parameters: ["i32", "buffer", "i32"], result: "i32" },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
  sched_yield: { parameters: [], result: "i32" },
  fcntl: { parameters: ["i32", "i32", "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", "buffer"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32", optional: true },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32", optional: true },
  epoll_wait: {
    parameters: ["i32", "buffer", "i32", "i32"],
    result: "i32",
    nonblocking: true,
    optional: true,
  },
  eventfd: { parameters: ["u32", "i32"], result: "i32", optional: true },
  eventfd_write: { parameters: ["i32", "u64"], result: "i32", optional: true },
  eventfd_read: { parameters: ["i32", "buffer"], result: "i32", optional: true },
  // `errno` and addresses, without the unscoped permission that `Deno.UnsafePointer` needs.
  errnoPlace: {
    name: IS_MAC ? "__error" : "__errno_location",
    parameters: [],
    result: "pointer",
  },
  copyFrom: { name: "memcpy", parameters: ["buffer", "pointer", "usize"], result: "void" },
  addressOf: { name: "memmove", parameters: ["buffer", "buffer", "usize"], result: "usize" },
  wordsOf: {
    name: IS_MAC ? "strerror_r" : "__xpg_strerror_r",
    parameters: ["i32", "buffer", "usize"],
    result: "i32",
  },
};

/** How the dynamic linker names each architecture. */
const MULTIARCH = `${Deno.build.arch}-linux-gnu`;

/** Where libc is: of Debian, of Fedora and others, of Alpine. The first is named in errors. */
const PLACES = IS_MAC ? ["/usr/lib/libSystem.B.dylib"] : [
  `/lib/${MULTIARCH}/libc.so.6`,
  `/usr/lib/${MULTIARCH}/libc.so.6`,
  "/lib64/libc.so.6",
  "/usr/lib64/libc.so.6",
  "/usr/lib/libc.so.6",
  `/lib/ld-musl-${Deno.build.arch}.so.1`,
];

/** What the dynamic linker finds by itself, with an unscoped permission. */
const NAMES = IS_MAC ? PLACES : ["libc.so.6", `libc.musl-${Deno.build.arch}.so.1`];

let opened: Libc | undefined;

/** Returns libc if it is open, or may be opened without a prompt. */
export function libcIfGranted(): Libc | undefined {
  if (opened !== undefined) return opened;
  try {
    return open();
  } catch {
    return undefined;
  }
}

/**
 * Returns libc.
 *
 * @param context Makes the error: `NotCapable` names the flag, `NotSupported` what is missing.
 */
export function requireLibc(context: Pick<ErrorContext<string | null>, "error" | "require">): Libc {
  if (opened !== undefined) return opened;
  let failure: unknown;
  try {
    const found = open();
    if (found !== undefined) return found;
  } catch (cause) {
    failure = cause;
  }
  if (failure === undefined) context.require({ ffi: [PLACES[0]!] });
  const state = `libc cannot be used: ${messageOf(failure)}`;
  throw context.error(Deno.errors.NotSupported, state, { cause: failure } as never);
}

/** Opens libc by a path or a name that is granted; `undefined` if none is. */
function open(): Libc | undefined {
  const granted = isGranted("ffi") ? NAMES : PLACES.filter((path) => isGranted("ffi", path));
  let failure: unknown;
  for (const name of granted) {
    try {
      return opened = Deno.dlopen(name, SYMBOLS).symbols as unknown as Libc;
    } catch (cause) {
      // The first name is the usual one, so its failure says most.
      failure ??= cause;
    }
  }
  if (failure !== undefined) throw failure;
  return undefined;
}
