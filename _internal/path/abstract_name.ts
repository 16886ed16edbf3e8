/** Abstract names: they need no file, and no lock, because the kernel refuses a second owner. */

import { SocketInUse } from "../../errors.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { codeOf, failureToOwn } from "../base/failure.ts";

/** Returns the error for an abstract name that could not be bound. */
export function failureToBind(context: ErrorContext, cause: unknown): Error {
  if (codeOf(cause) !== "EADDRINUSE") return failureToOwn(context, cause);
  const state = "it is in use. Stop that program first, or choose another name";
  return context.error(SocketInUse, state, { cause });
}
