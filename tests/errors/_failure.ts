/** A failure that the tests of errors provoke, and helpers that provoke one. */

import type { TempDir } from "../_helpers.ts";
import { type AnyError, errorOf } from "./_errors.ts";

/** A failure of the system that a function of this package reports in the common shape. */
export interface Failure {
  name: string;
  /** Provokes the failure at `path`, which is `s.sock` in the directory. */
  fail: (dir: TempDir, path: string) => Promise<AnyError>;
  /** A class that the error is an instance of. */
  // deno-lint-ignore no-explicit-any -- a constructor with any parameters
  is: abstract new (...args: any[]) => Error;
  operation: string;
  /** A part of the message. */
  says: string;
  code?: string;
  /** The code of the cause, or `null` if there must not be a cause. */
  causedBy?: string | null;
  /** The path in the error, if it is not the socket's. */
  at?: (path: string) => string;
  /** Checks the fields that not every error has. */
  fields?: (error: AnyError) => void;
  needs?: string[];
}

/** Returns the failure of a call after `make` has prepared the path. */
export function on(
  make: (path: string) => unknown,
  call: (path: string) => unknown,
): Failure["fail"] {
  return async (_dir, path) => {
    const made = await make(path);
    try {
      return await errorOf(() => call(path));
    } finally {
      const closable = made as Partial<AsyncDisposable & Disposable> | undefined;
      if (closable?.[Symbol.asyncDispose]) await closable[Symbol.asyncDispose]?.();
      else closable?.[Symbol.dispose]?.();
    }
  };
}

export const nothing = (): void => {};

export const aFile = (path: string): Promise<void> => Deno.writeTextFile(path, "");

export const aForeignServer = (path: string): Deno.UnixListener =>
  Deno.listen({ transport: "unix", path });

export const below = (path: string): string => `${path}/s.sock`;

export const handler = async (): Promise<void> => {};
