/** A failure that the tests of errors provoke, and what makes one fail. */

import type { TempDir } from "../_helpers.ts";
import { type AnyError, errorOf } from "./_errors.ts";

/** A failure of the system that a function of this package must tell in the one shape. */
export interface Failure {
  name: string;
  /** Makes it fail in a directory whose file `s.sock` is the path. */
  fail: (dir: TempDir, path: string) => Promise<AnyError>;
  /** The class, and one of Deno's or of ours that it is an instance of. */
  // deno-lint-ignore no-explicit-any -- a constructor with any parameters
  is: abstract new (...args: any[]) => Error;
  operation: string;
  /** A part of the message. */
  says: string;
  code?: string;
  /** The code of the cause, `null` where there must be none. */
  causedBy?: string | null;
  /** The path, where it is not the socket's. */
  at?: (path: string) => string;
  /** Looks at the fields that not every error has. */
  fields?: (error: AnyError) => void;
  needs?: string[];
}

/** Fails as a function does on what `make` puts at the path. */
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
