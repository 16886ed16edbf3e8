/** Errors of Node's modules, in the classes of Deno's own API. */

import { codeOf } from "../base/failure.ts";
import { errorOfCode } from "../base/system_code.ts";

/** Returns an error of Node's in Deno's class. */
export function fromNode(cause: Error): Error {
  const code = codeOf(cause);
  return code === undefined
    ? new Error(cause.message, { cause })
    : errorOfCode(code, cause.message, { cause });
}
