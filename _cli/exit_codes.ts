/** The exit codes of `uds`, and the two errors that are not failures of a socket. */

import { codeOf } from "../_internal/base/failure.ts";
import type { SocketState } from "../probe.ts";
import { isSocketError, NotASocket, NothingListening } from "../errors.ts";

/** Done, or alive. */
export const OK = 0;
/** Any other failure. */
export const FAILURE = 1;
/** The command line is wrong. */
export const USAGE = 2;
/** Nothing is at the path. */
export const ABSENT = 3;
/** The socket is stale: no process listens on it. */
export const STALE = 4;
/** It is in use, claimed, of another type, or its backlog is full. */
export const IN_USE = 5;
/** The system denies it. */
export const DENIED = 6;
/** The file at the path is not a socket. */
export const NOT_A_SOCKET = 7;
/** It timed out. */
export const TIMED_OUT = 8;
/** A Deno permission is missing. */
export const NOT_CAPABLE = 9;

/** An end that is not a failure: the reader of the output has gone, or a signal asked to stop. */
export class QuietEnd extends Error {}

/** The command line is wrong. */
export class UsageError extends Error {
  /** The command that was called, if it is known. */
  command?: string;
}

/** The exit code of each condition that a script may need to distinguish. */
const CODES = [
  [NothingListening, STALE],
  [NotASocket, NOT_A_SOCKET],
  [Deno.errors.NotCapable, NOT_CAPABLE],
  [Deno.errors.PermissionDenied, DENIED],
  [Deno.errors.NotFound, ABSENT],
  [Deno.errors.AddrInUse, IN_USE],
  [Deno.errors.WouldBlock, IN_USE],
  [Deno.errors.TimedOut, TIMED_OUT],
] as const;

/** The exit code of each state of a path. */
export const STATE_CODES: Readonly<Record<SocketState, number>> = {
  alive: OK,
  free: ABSENT,
  stale: STALE,
  claimed: IN_USE,
  full: IN_USE,
  denied: DENIED,
  "other-type": IN_USE,
  "not-a-socket": NOT_A_SOCKET,
};

/** Returns the exit code of an error. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof QuietEnd) return OK;
  if (error instanceof UsageError) return USAGE;
  if (isOtherType(error)) return STATE_CODES["other-type"];
  for (const [Class, code] of CODES) if (error instanceof Class) return code;
  return isWrongArgument(error) ? USAGE : FAILURE;
}

/** Reports whether an error means a socket of another type than was asked for. */
export function isOtherType(error: unknown): error is NotASocket {
  return error instanceof NotASocket && codeOf(error.cause) === "EPROTOTYPE";
}

/**
 * Reports whether an error means a wrong argument: a plain `TypeError` or `RangeError`. Deno also
 * throws a `TypeError` for EINVAL of the system. That one has a code, or its cause has one.
 */
function isWrongArgument(error: unknown): boolean {
  if (!(error instanceof Error) || isSocketError(error)) return false;
  const isPlain = error.constructor === TypeError || error.constructor === RangeError;
  return isPlain && !hasCode(error) && !hasCode(error.cause);
}

function hasCode(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code !== undefined;
}
