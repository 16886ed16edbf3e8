/** Options of a socket, and the bytes that wait in it: getsockopt(2), unix(7). */

import { FIONREAD, POLLERR, SIOCOUTQ, SO_COOKIE, SOL_SOCKET } from "./constants.ts";
import { lastFailure } from "./failure.ts";
import { POLLFD } from "./layouts.ts";
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

/** Returns how many bytes a socket has that were not read. */
export function unreadBytes(libc: Libc, fd: number): number {
  return waiting(libc, fd, FIONREAD);
}

/** Returns how much memory has what the peer has not read. Linux only. */
export function unsentMemory(libc: Libc, fd: number): number {
  return waiting(libc, fd, SIOCOUTQ);
}

function waiting(libc: Libc, fd: number, request: number): number {
  if (libc.ioctl(fd, BigInt(request), value) < 0) throw lastFailure(libc);
  return value[0]!;
}

const polled = fixedMemory(POLLFD.bytes);

/**
 * Reports whether a socket has an error that was not read. Does not take it, as `SO_ERROR` does.
 */
export function hasError(libc: Libc, fd: number): boolean {
  const view = new DataView(polled.buffer);
  view.setInt32(POLLFD.fd, fd, true);
  view.setInt16(POLLFD.events, 0, true);
  return libc.poll(polled, 1n, 0) === 1 && (view.getInt16(POLLFD.revents, true) & POLLERR) !== 0;
}
