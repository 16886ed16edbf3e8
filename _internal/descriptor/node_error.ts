/** Errors of Node's modules, in the classes of Deno's own API. */

import { NotASocket } from "../../errors.ts";
import { codeOf } from "../base/failure.ts";
import { builtin } from "../base/node.ts";
import { errorOfCode } from "../base/system_code.ts";

/** The codes with which the first use reports that a descriptor is not a connected socket. */
const UNCONNECTED = ["EBADF", "EINVAL", "ENOTCONN"];

/** Returns an error of Node's in Deno's class. */
export function fromNode(cause: Error): Error {
  const code = codeOf(cause);
  return code === undefined
    ? new Error(cause.message, { cause })
    : errorOfCode(code, cause.message, { cause });
}

/** Returns the error of a call of a handle, which has returned a negative number. */
export function failureOf(result: number, call: string): Error & { code: string } {
  const code = builtin("node:util").getSystemErrorName(result);
  return errorOfCode(code, `${call} ${code}`) as Error & { code: string };
}

/** Returns the error of a duplicate that could not be made. */
export function noDescriptorLeft(): Error {
  return errorOfCode("EMFILE", "Too many open files (os error 24)");
}

/** Returns the error of a descriptor that is not a connected socket, if that is the cause. */
export function unconnected(cause: Error): NotASocket | undefined {
  if (!UNCONNECTED.includes(codeOf(cause) ?? "")) return undefined;
  const state = "the descriptor is not a connected Unix stream socket";
  return new NotASocket(state, { operation: "inherited", path: null, cause });
}
