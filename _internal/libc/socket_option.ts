/** Options of a socket: getsockopt(2). */

import { SO_COOKIE, SOL_SOCKET } from "./constants.ts";
import { lastFailure } from "./failure.ts";
import type { Libc } from "./library.ts";
import { fixedMemory } from "./memory.ts";

const value = new Int32Array(new ArrayBuffer(4));
const cookie = new BigUint64Array(new ArrayBuffer(8));
const length = new Uint32Array(new ArrayBuffer(4));

/** Returns an option that is a number; -1 if the descriptor is not a socket, or has it not. */
export function numberOption(libc: Libc, fd: number, option: number): number {
  length[0] = 4;
  return libc.getsockopt(fd, SOL_SOCKET, option, value, length) === 0 ? value[0]! : -1;
}

/** Sets an option that is a number. */
export function setNumberOption(libc: Libc, fd: number, option: number, to: number): void {
  value[0] = to;
  if (libc.setsockopt(fd, SOL_SOCKET, option, value, 4) < 0) throw lastFailure(libc);
}

/**
 * Returns the number of a socket, which no other one has until the system boots again; `undefined`
 * if the descriptor is not a socket.
 */
export function socketCookie(libc: Libc, fd: number): bigint | undefined {
  length[0] = 8;
  return libc.getsockopt(fd, SOL_SOCKET, SO_COOKIE, cookie, length) === 0 ? cookie[0]! : undefined;
}

/** Returns an option that is a structure, of at most `memory.length` bytes. */
export function readOption(libc: Libc, fd: number, option: number, bytes: number): Uint8Array {
  const memory = fixedMemory(bytes);
  length[0] = bytes;
  if (libc.getsockopt(fd, SOL_SOCKET, option, memory, length) < 0) throw lastFailure(libc);
  return memory.subarray(0, length[0]);
}
