/**
 * Memory that the kernel reads or writes.
 *
 * V8 keeps a typed array of up to 64 bytes on its own heap, where it moves. If the address of a
 * buffer is kept, it must therefore have its own `ArrayBuffer`, and stay reachable while it is
 * used.
 */

import type { Libc } from "./library.ts";

/** Returns memory that does not move. */
export function fixedMemory(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(bytes));
}

/** Returns the address of a buffer. */
export function addressOf(libc: Libc, memory: Uint8Array): bigint {
  return libc.addressOf(memory, memory, 0n);
}
