/** Errors of Node's modules, in the classes of Deno's own API. */

import { codeOf } from "../base/failure.ts";

type ErrorClass = new (message: string, options?: ErrorOptions) => Error;

const CLASSES: Record<string, ErrorClass> = {
  EACCES: Deno.errors.PermissionDenied,
  ECONNRESET: Deno.errors.ConnectionReset,
  ENOENT: Deno.errors.NotFound,
  ENOTDIR: Deno.errors.NotADirectory,
  EPIPE: Deno.errors.BrokenPipe,
};

/** Returns an error with a code, of the class that Deno has for it. */
export function errorOfCode(code: string, message: string, options?: ErrorOptions): Error {
  return Object.assign(new (CLASSES[code] ?? Error)(message, options), { code });
}

/** Returns an error of Node's in Deno's class. */
export function fromNode(cause: Error): Error {
  const code = codeOf(cause);
  return code === undefined
    ? new Error(cause.message, { cause })
    : errorOfCode(code, cause.message, { cause });
}
