/** The errors with which calls of a pool reject. */

import { CallInterrupted, ConnectionClosed } from "../../errors.ts";
import { ErrorContext } from "../base/error_context.ts";
import type { Task } from "./task.ts";

/** Returns the context of a call. */
export function contextOf(method: string): ErrorContext<null> {
  return new ErrorContext("call", null, `Cannot call ${JSON.stringify(method)}`);
}

/** Returns the error of a call to a pool that was closed, or that is being disposed of. */
export function closedError(method: string): ConnectionClosed {
  return contextOf(method).error(
    ConnectionClosed,
    "the pool is closed, and the method has not run",
  );
}

/** Returns the error of a call that ran when the pool was closed. */
export function interrupted(
  method: string,
  sent: boolean,
  state: string,
  status?: Deno.CommandStatus,
): CallInterrupted {
  const error = contextOf(method).error(CallInterrupted, state, { method, sent });
  return Object.assign(error, status && { status });
}

/** Returns the error of a call after its child has ended. */
export function lostError(
  { method, runs }: Task,
  pid: number,
  sent: boolean,
  status: Deno.CommandStatus | undefined,
): CallInterrupted {
  const before = sent
    ? "before the answer. The method may have run"
    : "before the call was sent to it";
  const others = runs > 1 ? `. It is the last of ${runs} that have ended so` : "";
  const remedy = status?.success ? ". Keep it running with rpc(inherited(), { methods })" : "";
  const state = `the child process ${pid} ${endOf(status)} ${before}${others}${remedy}`;
  return interrupted(method, sent, state, status);
}

/** Returns how a child has ended. */
export function endOf(status: Deno.CommandStatus | undefined): string {
  if (status === undefined) return "has closed its connection";
  if (status.signal !== null) return `was ended by ${status.signal}`;
  return `exited with code ${status.code}`;
}
