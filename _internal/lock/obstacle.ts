/**
 * A reason why a lock could not be taken just now. If it does not go away in time, lock_wait.ts
 * throws the error.
 */

import { InsecurePath } from "../../errors.ts";
import { ErrorContext } from "../base/error_context.ts";
import { codeOf, failureToOwn, stateOf } from "../base/failure.ts";
import { isUnchanged, lstat } from "../base/file.ts";
import type { LockRecord } from "./lock_file.ts";

/** The holder of a lock, as far as it is known. */
export interface LockHolder extends LockRecord {
  /** The lock file. */
  info?: Deno.FileInfo;
  /** Whether this process holds it. */
  isOurs?: boolean;
}

/** A holder that may release the lock, or an error that may be due to a change at that moment. */
export type Obstacle = LockHolder | { error: Error };

/** The lock has changed since it was examined: try again. */
export const CHANGED: Obstacle = { holder: undefined };

/**
 * Returns an obstacle if trying again may help, or if another user's file is there. Throws any
 * other error in the shape of our errors.
 */
export function obstacleOf(
  context: ErrorContext,
  path: string,
  found: Deno.FileInfo | null,
  error: unknown,
): Obstacle {
  // Another process has created or removed it.
  if (error instanceof Deno.errors.AlreadyExists) return CHANGED;
  if (found !== null && hasChanged(path, found, error)) return CHANGED;
  if (found === null || !isShut(error)) throw failureToOwn(context, error);
  const state = `it belongs to uid ${found.uid}, and this process cannot open or ` +
    `replace it (${stateOf(error)}). Choose a directory of your own`;
  return { error: new ErrorContext("lock", path).error(InsecurePath, state, { cause: error }) };
}

/** Returns the refusal of a file that is not our lock. */
export function refusal(path: string, found: string, { uid }: Deno.FileInfo): Obstacle {
  const state = `it is ${found} of uid ${uid}, so it is not a lock of this package, ` +
    `and another program may need it. It was left untouched. Remove it if no program uses it ` +
    `any more, or choose another path`;
  return { error: new ErrorContext("lock", path).error(InsecurePath, state) };
}

/**
 * Reports whether a path leads to another file than before, or to none.
 *
 * @param error Why it could not be used. That it was missing for an instant is enough: on a file
 * system that records no time of birth, the next file can look the same.
 */
export function hasChanged(path: string, found: Deno.FileInfo, error: unknown): boolean {
  if (codeOf(error) === "ENOENT") return true;
  try {
    return !isUnchanged(lstat(path), found);
  } catch {
    // The first error says more.
    return false;
  }
}

/** Reports whether a file may not be opened, or not in time: its owner decides that. */
export function isShut(error: unknown): boolean {
  return error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.TimedOut ||
    error instanceof Deno.errors.NotCapable;
}
