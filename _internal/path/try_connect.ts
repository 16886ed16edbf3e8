/** A connection that only shows whether a server answers at a path. */

import { codeOf } from "../base/failure.ts";

/**
 * - `"alive"`: a server listens.
 * - `"full"`: a server listens, and its backlog is full (`EAGAIN`).
 * - `"refused"`: no server listens, or not yet: a socket between bind and listen refuses as well,
 *   and on macOS and the BSDs so does one with a full backlog.
 * - `"denied"`: the file system does not allow this process to connect.
 * - `"absent"`: the file is missing.
 * - `"other-type"`: a running program has a datagram or sequenced-packet socket there. A file that
 *   it has left behind refuses instead.
 */
export type Answer = "alive" | "full" | "refused" | "denied" | "absent" | "other-type";

const ANSWERS: Record<string, Answer> = {
  EAGAIN: "full",
  ECONNREFUSED: "refused",
  // The server has closed its listener with this connection in the backlog.
  ECONNRESET: "refused",
  EACCES: "denied",
  EPERM: "denied",
  ENOENT: "absent",
  EPROTOTYPE: "other-type",
};

/**
 * Connects once, and closes the connection. Any failure that is not an answer is thrown as it is.
 */
export async function tryConnect(path: string): Promise<{ answer: Answer; cause?: unknown }> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return { answer: "alive" };
  } catch (cause) {
    const answer = answerOf(cause);
    if (answer === undefined) throw cause;
    return { answer, cause };
  }
}

/** Returns what a failed connection says about the server. */
export function answerOf(cause: unknown): Answer | undefined {
  // Deno has connected, and cannot read the name that the server is bound to.
  return cause instanceof Deno.errors.InvalidData ? "alive" : ANSWERS[codeOf(cause) ?? ""];
}
