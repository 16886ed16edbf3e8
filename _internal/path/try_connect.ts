/** Knocking: a connection that is closed at once, to learn whether somebody answers at a path. */

import { codeOf } from "../base/failure.ts";

/**
 * - `"alive"`: somebody listens.
 * - `"full"`: somebody listens, and the backlog has no place (`EAGAIN`).
 * - `"refused"`: nobody listens, or not yet: a socket between bind and listen refuses as well, and on
 *   macOS and the BSDs so does one with a full backlog.
 * - `"denied"`: the file system does not let this process ask.
 * - `"absent"`: there is no such file.
 * - `"mistyped"`: it is no stream socket, but a datagram or a sequenced-packet one.
 */
export type Answer = "alive" | "full" | "refused" | "denied" | "absent" | "mistyped";

/** Knocks once. What is none of the answers rejects as Deno gave it. */
export async function knock(path: string): Promise<{ answer: Answer; cause?: unknown }> {
  try {
    (await Deno.connect({ transport: "unix", path })).close();
    return { answer: "alive" };
  } catch (cause) {
    const answer = answerOf(cause);
    if (answer === undefined) throw cause;
    return { answer, cause };
  }
}

/** What a refused connection says of the one who should answer. */
export function answerOf(cause: unknown): Answer | undefined {
  // Deno has connected, and cannot read the name that the server is bound to.
  if (cause instanceof Deno.errors.InvalidData) return "alive";
  switch (codeOf(cause)) {
    case "EAGAIN":
      return "full";
    case "ECONNREFUSED":
      return "refused";
    case "EACCES":
    case "EPERM":
      return "denied";
    case "ENOENT":
      return "absent";
    case "EPROTOTYPE":
      return "mistyped";
    default:
      return undefined;
  }
}
