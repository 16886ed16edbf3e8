/** Who is at a path: nobody, a socket that nobody listens on any more, or somebody to be left alone. */

import { ConnectDenied, NotASocket, SocketInUse } from "../../errors.ts";
import { delay } from "../base/event_loop.ts";
import { modeAllows, POLICY, TO_CONNECT } from "../base/denial.ts";
import { isSameFile, kindOf, lstat, octal, ownership } from "../base/file.ts";
import { knock } from "./try_connect.ts";
import type { Attempt } from "../lock/lock_wait.ts";
import { attempt, codeOf, stateOf, systemError } from "../base/failure.ts";

/** When to ask again: a socket between its bind and its listen refuses like a dead one. */
const STALE_MS = 100;

/**
 * Makes sure that taking a path displaces nobody: gives the dead socket that is there, or `null` where
 * there is nothing. Everything else is refused.
 *
 * @param wanted What is tried, for the errors; its path is the one that is looked at.
 * @param existing With `"fail"` a socket is refused whether it is dead or not.
 */
export async function requireVacant(
  wanted: Attempt,
  existing: "reclaim" | "fail",
  signal?: AbortSignal,
): Promise<Deno.FileInfo | null> {
  const { operation, path } = wanted;
  const start = attempt(operation, path);
  const info = lstat(path);
  if (info === null) return null;
  if (!info.isSocket) {
    throw new NotASocket(
      `${start}: it is ${kindOf(info)}, which was left untouched. ${
        info.isSymlink ? "Name the file that it leads to, or choose" : "Choose"
      } another path`,
      wanted,
    );
  }
  if (existing === "fail") {
    throw new SocketInUse(
      `${start}: a socket is there already, and existing: "fail" removes none`,
      wanted,
    );
  }
  for (const pause of [STALE_MS, 0]) {
    const { answer, cause } = await knock(path);
    if (answer === "absent") return null;
    if (answer === "denied") {
      throw new ConnectDenied(
        `${start}: a socket of uid ${info.uid} with mode ${octal(info.mode ?? 0)} is there, ` +
          `and whether it is alive cannot be told without permission to connect` +
          (modeAllows(info, TO_CONNECT)
            ? `: ${POLICY}, or choose another path`
            : ". Run as that user, or choose another path"),
        { ...wanted, cause, ...ownership(info) },
      );
    }
    if (answer === "mistyped") {
      throw new NotASocket(
        `${start}: it is a datagram or sequenced-packet socket, which was left untouched. ` +
          `Choose another path`,
        { ...wanted, cause },
      );
    }
    if (answer !== "refused") {
      const how = answer === "full" ? ", and its backlog is full" : "";
      throw new SocketInUse(
        `${start}: a program that does not use its lock listens there${how}. ` +
          `Stop that one first, or choose another path`,
        { ...wanted, cause },
      );
    }
    await delay(pause, signal);
    const later = lstat(path);
    if (later === null) return null;
    if (!isSameFile(info, later) || info.ctime?.getTime() !== later.ctime?.getTime()) {
      throw new SocketInUse(
        `${start}: somebody else is binding it just now. Try again, or choose another path`,
        wanted,
      );
    }
  }
  return info;
}

/** What helps where a dead socket cannot be removed. */
const REMEDIES: Record<string, string> = {
  EACCES: "Remove it as that user, or choose",
  EBUSY: "It is a mount point: unmount it, or choose",
  EPERM: "Remove it as that user, or choose",
};

/** Removes a dead socket. */
export function removeDead({ operation, path }: Attempt, info: Deno.FileInfo): void {
  try {
    Deno.removeSync(path);
  } catch (error) {
    throw systemError(
      attempt(operation, path),
      error,
      { operation, path },
      `a dead socket of uid ${info.uid} is there, and it could not be removed (${
        stateOf(error)
      }). ${REMEDIES[codeOf(error) ?? ""] ?? "Choose"} another path`,
    );
  }
}
