/** Failures of system calls, in the classes of Deno's own errors. */

import { errorOfCode } from "../base/system_code.ts";
import { builtin } from "../base/node.ts";
import type { Libc } from "./library.ts";
import { fixedMemory } from "./memory.ts";

const number = new Int32Array(new ArrayBuffer(4));

/** Returns the `errno` of the call before. */
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
  const words = fixedMemory(128);
  libc.wordsOf(errno, words, BigInt(words.length));
  const text = new TextDecoder().decode(words.subarray(0, words.indexOf(0)));
  const code = builtin("node:util").getSystemErrorName(-errno);
  return errorOfCode(code, `${text} (os error ${errno})`);
}
