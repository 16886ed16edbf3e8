/**
 * libc, opened at its first use.
 *
 * - A permission for the path of the library is enough: `--allow-ffi=/lib/…/libc.so.6`. Deno
 *   compares the text, so the library is opened by exactly that path.
 * - System calls are synchronous, because one takes 0.2 µs and a call on another thread 55 µs. They
 *   must not wait: sockets are read and written with `MSG_DONTWAIT`. `pollOnThread` alone waits.
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
  accept(fd: number, address: Memory | null, bytes: Memory | null): number;
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
  recvmmsg:
    | ((fd: number, messages: Memory, most: number, flags: number, timeout: null) => number)
    | null;
  shutdown(fd: number, how: number): number;
  close(fd: number): number;
  dup(fd: number): number;
  dup2(fd: number, to: number): number;
  dup3: ((fd: number, to: number, flags: number) => number) | null;
  sched_yield(): number;
  clock_gettime(clock: number, into: Memory): number;
  fchmod(fd: number, mode: number): number;
  fcntl(fd: number, command: number, value: number): number;
  ioctl(fd: number, request: bigint, value: Memory): number;
  open(path: Memory, flags: number): number;
  /** Looks only: with a time limit of 0. */
  poll(fds: Memory, count: bigint, ms: 0): number;
  /** Waits on a thread of Deno's, which keeps the process alive. Its `errno` is lost. */
  pollOnThread(fds: Memory, count: bigint, ms: number): Promise<number>;
  epoll_create1: ((flags: number) => number) | null;
  epoll_ctl: ((epoll: number, operation: number, fd: number, event: Memory) => number) | null;
  epoll_wait: ((epoll: number, events: Memory, most: number, ms: number) => number) | null;
  eventfd: ((count: number, flags: number) => number) | null;
  io_setup: ((call: bigint, events: number, context: Memory) => number) | null;
  io_destroy: ((call: bigint, context: bigint) => number) | null;
  io_submit: ((call: bigint, context: bigint, count: bigint, list: Memory) => number) | null;
  io_getevents:
    | ((
      call: bigint,
      context: bigint,
      least: bigint,
      most: bigint,
      events: Memory,
      timeout: Memory,
    ) => number)
    | null;
  pidfd_send_signal:
    | ((call: bigint, pidfd: number, signal: number, information: null, flags: number) => number)
    | null;
  kqueue: (() => number) | null;
  kevent:
    | ((
      kqueue: number,
      changes: Memory | null,
      count: number,
      events: Memory | null,
      most: number,
      timeout: Memory,
    ) => number)
    | null;
  errnoPlace(): Deno.PointerValue;
  copyFrom(into: Memory, from: Deno.PointerValue, bytes: bigint): void;
  addressOf(memory: Memory, same: Memory, zero: bigint): bigint;
  wordsOf(errno: number, into: Memory, bytes: bigint): number;
  select(
    count: number,
    read: Memory,
    write: Memory | null,
    other: Memory | null,
    ms: Memory,
  ): number;
  fstat: ((fd: number, status: Memory) => number) | null;
  /** Where the address of libc's own stream is. Nothing of Deno's writes to that stream. */
  stderr: Deno.PointerValue;
  ftrylockfile: ((stream: bigint) => number) | null;
  funlockfile: ((stream: bigint) => void) | null;
}

/**
 * Apple passes the variable arguments of `fcntl` and `ioctl` on the stack on arm64, so the eight
 * registers must be full. Elsewhere they are passed like others.
 */
const REGISTERS = IS_MAC && Deno.build.arch === "aarch64" ? 6 : 0;
const VARIADIC: readonly "i64"[] = new Array(REGISTERS).fill("i64");

const LINUX: Deno.ForeignLibraryInterface = {
  accept: { parameters: ["i32", "buffer", "buffer"], result: "i32" },
  accept4: { parameters: ["i32", "buffer", "buffer", "i32"], result: "i32" },
  epoll_create1: { parameters: ["i32"], result: "i32" },
  epoll_ctl: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  epoll_wait: { parameters: ["i32", "buffer", "i32", "i32"], result: "i32" },
  eventfd: { parameters: ["u32", "i32"], result: "i32" },
  // System calls without a function of their own.
  io_setup: { name: "syscall", parameters: ["i64", "u32", "buffer"], result: "i32" },
  io_destroy: { name: "syscall", parameters: ["i64", "u64"], result: "i32" },
  io_submit: { name: "syscall", parameters: ["i64", "u64", "i64", "buffer"], result: "i32" },
  io_getevents: {
    name: "syscall",
    parameters: ["i64", "u64", "i64", "i64", "buffer", "buffer"],
    result: "i32",
  },
  pidfd_send_signal: {
    name: "syscall",
    parameters: ["i64", "i32", "i32", "buffer", "u32"],
    result: "i32",
  },
};

const MAC: Deno.ForeignLibraryInterface = {
  kqueue: { parameters: [], result: "i32" },
  kevent: { parameters: ["i32", "buffer", "i32", "buffer", "i32", "buffer"], result: "i32" },
};

const SYMBOLS: Deno.ForeignLibraryInterface = {
  ...(IS_MAC ? MAC : LINUX),
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  socketpair: { parameters: ["i32", "i32", "i32", "buffer"], result: "i32" },
  bind: { parameters: ["i32", "buffer", "u32"], result: "i32" },
  listen: { parameters: ["i32", "i32"], result: "i32" },
  connect: { parameters: ["i32", "buffer", "u32"], result: "i32" },
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
  recvmmsg: {
    parameters: ["i32", "buffer", "u32", "i32", "buffer"],
    result: "i32",
    optional: true,
  },
  shutdown: { parameters: ["i32", "i32"], result: "i32" },
  close: { parameters: ["i32"], result: "i32" },
  dup: { parameters: ["i32"], result: "i32" },
  dup2: { parameters: ["i32", "i32"], result: "i32" },
  dup3: { parameters: ["i32", "i32", "i32"], result: "i32", optional: true },
  sched_yield: { parameters: [], result: "i32" },
  clock_gettime: { parameters: ["i32", "buffer"], result: "i32" },
  fchmod: { parameters: ["i32", "u32"], result: "i32" },
  fcntl: { parameters: ["i32", "i32", ...VARIADIC, "i32"], result: "i32" },
  ioctl: { parameters: ["i32", "u64", ...VARIADIC, "buffer"], result: "i32" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  poll: { parameters: ["buffer", "usize", "i32"], result: "i32" },
  pollOnThread: {
    name: "poll",
    parameters: ["buffer", "usize", "i32"],
    result: "i32",
    nonblocking: true,
  },
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
  select: { parameters: ["i32", "buffer", "buffer", "buffer", "buffer"], result: "i32" },
  // glibc has it since 2.33.
  fstat: {
    name: IS_MAC && Deno.build.arch === "x86_64" ? "fstat$INODE64" : "fstat",
    parameters: ["i32", "buffer"],
    result: "i32",
    optional: true,
  },
  stderr: { name: IS_MAC ? "__stderrp" : "stderr", type: "pointer", optional: true },
  ftrylockfile: { parameters: ["u64"], result: "i32", optional: true },
  funlockfile: { parameters: ["u64"], result: "void", optional: true },
};

/** Where libc is: of Debian, of Fedora and others. The first that exists is named in errors. */
const PLACES = placesOf(Deno.build);

function placesOf({ os, arch, env }: typeof Deno.build): string[] {
  if (os === "darwin") return ["/usr/lib/libSystem.B.dylib"];
  // The libc of this very process: another one in the same process would corrupt its memory.
  if (env === "musl") return [`/lib/ld-musl-${arch}.so.1`];
  const directories = [`/lib/${arch}-linux-gnu`, `/usr/lib/${arch}-linux-gnu`];
  return [...directories, "/lib64", "/usr/lib64", "/usr/lib"].map((path) => `${path}/libc.so.6`);
}

/**
 * What is opened with an unscoped permission. The name is that of the libc that is loaded, wherever
 * it is.
 */
const NAMES = Deno.build.env === "gnu" ? ["libc.so.6"] : PLACES;

/** Returns the path of libc, as the flag that grants it must have it. */
export function libcPath(): string {
  const isThere = (path: string) => {
    try {
      return isGranted("read", path) && Deno.statSync(path).isFile;
    } catch {
      return false;
    }
  };
  return PLACES.find(isThere) ?? PLACES[0]!;
}

let opened: Libc | undefined;

/**
 * The permissions when libc was refused. Deno keeps one object for each, which changes when the
 * permission does. A query takes as long as ten system calls.
 */
let refused: { status: Deno.PermissionStatus; state: Deno.PermissionState }[] | undefined;

/** Returns libc if it is open, or may be opened without a prompt. */
export function libcIfGranted(): Libc | undefined {
  if (opened !== undefined) return opened;
  if (refused?.every(({ status, state }) => status.state === state)) return undefined;
  try {
    open();
  } catch {
    // {@linkcode requireLibc} reports it.
  }
  refused = [undefined, ...PLACES].map((path) => {
    const status = Deno.permissions.querySync({ name: "ffi", ...(path !== undefined && { path }) });
    return { status, state: status.state };
  });
  return opened;
}

/**
 * Returns libc.
 *
 * @param context Makes the error: `NotCapable` names the flag, `NotSupported` what is missing.
 */
export function requireLibc(context: Pick<ErrorContext<string | null>, "error" | "require">): Libc {
  if (opened !== undefined) return opened;
  let libc: Libc | undefined;
  try {
    libc = open();
  } catch (cause) {
    const remedy = isGranted("ffi") ? "" : ". If libc is elsewhere, run again with --allow-ffi";
    const state = `libc cannot be used: ${messageOf(cause)}${remedy}`;
    throw context.error(Deno.errors.NotSupported, state, { cause } as never);
  }
  if (libc === undefined) {
    const missing = PLACES.filter((path) => !isGranted("ffi", path));
    context.require({ ffi: [missing.find((path) => path === libcPath()) ?? missing[0]!] });
  }
  return libc!;
}

/** Opens libc by a path or a name that is granted. Returns `undefined` if none is. */
function open(): Libc | undefined {
  const places = PLACES.filter((path) => isGranted("ffi", path));
  // A flag that denies one of the places denies libc, although the others may be opened.
  const whole = places.length === PLACES.length ? NAMES : [];
  const granted = isGranted("ffi") ? whole : places;
  let failure: unknown;
  for (const name of granted) {
    try {
      const symbols = Deno.dlopen(name, SYMBOLS).symbols as unknown as Libc;
      return opened = REGISTERS === 0 ? symbols : withFullRegisters(symbols);
    } catch (cause) {
      // The first name is the usual one, so its failure says most.
      failure ??= cause;
    }
  }
  if (failure !== undefined) throw failure;
  return undefined;
}

/** Passes the variable arguments on the stack. */
function withFullRegisters(symbols: Libc): Libc {
  const full: bigint[] = new Array(REGISTERS).fill(0n);
  const { fcntl, ioctl } = symbols as unknown as Record<string, (...args: unknown[]) => number>;
  return {
    ...symbols,
    fcntl: (fd, command, value) => fcntl!(fd, command, ...full, value),
    ioctl: (fd, request, value) => ioctl!(fd, request, ...full, value),
  };
}
