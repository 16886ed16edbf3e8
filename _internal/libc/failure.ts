/** Failures of system calls, in the classes of Deno's own errors. */

import { errorOfCode } from "../base/system_code.ts";
import { ERRNO_NAMES } from "./errno.ts";
import type { Libc } from "./library.ts";
import { fixedMemory } from "./memory.ts";

const TEXT_BYTES = 128;

const number = new Int32Array(new ArrayBuffer(4));

/** Returns the `errno` of the call before, which must be a synchronous one. */
export function errnoOf(libc: Libc): number {
  libc.copyFrom(number, libc.errnoPlace(), 4n);
  return number[0]!;
}

/** Returns the error of the call before, with its code: `{ code: "EBADF" }`. */
export function lastFailure(libc: Libc): Error {
  return failureOf(libc, errnoOf(libc));
}

/** Returns the error for an `errno`. */
export function failureOf(libc: Libc, errno: number): Error {
  const words = fixedMemory(TEXT_BYTES);
  libc.wordsOf(errno, words, BigInt(TEXT_BYTES));
  const end = words.indexOf(0);
  const text = new TextDecoder().decode(end < 0 ? words : words.subarray(0, end));
  const code = ERRNO_NAMES.get(errno);
  return errorOfCode(code ?? `E${errno}`, `${text} (os error ${errno})`);
}
