/** What the exit code of `uds` says. */

import {
  ConnectDenied,
  ConnectTimeout,
  InsecurePath,
  NotASocket,
  NothingListening,
  SocketInUse,
  SocketNotFound,
} from "../errors.ts";

export const OK = 0;
export const FAILURE = 1;
export const USAGE = 2;

/** The exit code of each condition that a script may want to tell from others. */
const CODES = [
  [SocketNotFound, 3],
  [NothingListening, 4],
  [SocketInUse, 5],
  [ConnectDenied, 6],
  [InsecurePath, 6],
  [NotASocket, 7],
  [ConnectTimeout, 8],
  [Deno.errors.NotCapable, 9],
  [Deno.errors.PermissionDenied, 6],
  [Deno.errors.TimedOut, 8],
] as const;

/** The exit code of an error; a plain `TypeError` or `RangeError` is an argument that is wrong. */
export function exitCodeOf(error: Error): number {
  for (const [Class, code] of CODES) if (error instanceof Class) return code;
  return error.constructor === TypeError || error.constructor === RangeError ? USAGE : FAILURE;
}
