/**
 * What the native tests share. It opens libc at its import, because a test that opens it is
 * reported to leak it.
 */

import { AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM } from "../../_internal/libc/constants.ts";
import { type Libc, libcIfGranted } from "../../_internal/libc/library.ts";
import { fixedMemory } from "../../_internal/libc/memory.ts";

/** libc, as all tests may use it. */
export const libc: Libc = libcIfGranted()!;

/** Two connected sockets. Disposing closes those that are still open. */
export class Sockets implements Disposable {
  readonly a: number;
  readonly b: number;
  readonly #open = new Set<number>();

  constructor(type: number = SOCK_STREAM) {
    const fds = new Int32Array(new ArrayBuffer(8));
    if (libc.socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds) < 0) throw new Error("socketpair");
    this.a = fds[0]!;
    this.b = fds[1]!;
    this.#open.add(this.a).add(this.b);
  }

  close(fd: number): void {
    if (this.#open.delete(fd)) libc.close(fd);
  }

  [Symbol.dispose](): void {
    for (const fd of [...this.#open]) this.close(fd);
  }
}

const MSG_DONTWAIT_NOSIGNAL = 0x4040;
const memory = fixedMemory(64 * 1024);

/** Sends some bytes; returns how many were taken, -1 if none. */
export function send(fd: number, bytes = 1): number {
  return libc.send(fd, memory, BigInt(bytes), MSG_DONTWAIT_NOSIGNAL);
}

/** Receives what is there; returns how many bytes, -1 if none. */
export function receive(fd: number, bytes: number = memory.length): number {
  return libc.recv(fd, memory, BigInt(bytes), MSG_DONTWAIT_NOSIGNAL);
}

/** Sends until the kernel takes no more. */
export function fill(fd: number): void {
  while (send(fd, memory.length) > 0);
}
