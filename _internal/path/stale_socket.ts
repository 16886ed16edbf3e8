/** What may be replaced at a path: nothing else than a stale socket. */

import { ConnectDenied, NotASocket, SocketInUse } from "../../errors.ts";
import { modeAllows, POLICY, TO_CONNECT } from "../base/denial.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { delay } from "../base/event_loop.ts";
import { codeOf, stateOf } from "../base/failure.ts";
import { isSameFile, kindOf, lstat, octal, ownership, removeIfSame } from "../base/file.ts";
import { tryConnect } from "./try_connect.ts";

/** When to connect again: a socket between its bind and its listen refuses like a stale one. */
export const STALE_RETRY_MS = 100;

/**
 * Returns the stale socket at a path, or `null` if there is nothing. Throws if anything else is
 * there.
 *
 * @param context What is tried. Its path is the one that is examined.
 */
export async function requireReplaceable(
  context: ErrorContext,
  signal?: AbortSignal,
): Promise<Deno.FileInfo | null> {
  const { path } = context;
  const info = lstat(path);
  if (info === null) return null;
  if (!info.isSocket) {
    const remedy = info.isSymlink ? "Name the file that it leads to, or choose" : "Choose";
    throw context.error(
      NotASocket,
      `it is ${kindOf(info)}, which was left untouched. ${remedy} another path`,
    );
  }
  for (const pause of [STALE_RETRY_MS, 0]) {
    const { answer, cause } = await tryConnect(path);
    if (answer === "absent") return null;
    if (answer !== "refused") throw refusalOf(context, answer, info, cause);
    await delay(pause, signal);
    const later = lstat(path);
    if (later === null) return null;
    if (!isSameFile(info, later) || info.ctime?.getTime() !== later.ctime?.getTime()) {
      throw context.error(
        SocketInUse,
        "another process is binding it just now. Try again, or choose another path",
      );
    }
  }
  return info;
}

/** A process that has a socket while its lock is free, such as a service manager. */
export const WITHOUT_LOCK: string = "a process that does not use its lock";

/** How another process uses the socket. */
const USES = {
  alive: "listens there",
  full: "listens there, and its backlog is full",
  "other-type": "has a datagram or sequenced-packet socket there",
};

function refusalOf(
  context: ErrorContext,
  answer: "alive" | "full" | "denied" | "other-type",
  info: Deno.FileInfo,
  cause: unknown,
): Error {
  if (answer === "denied") {
    const remedy = modeAllows(info, TO_CONNECT) ? `: ${POLICY}, or` : ". Run as that user, or";
    return context.error(
      ConnectDenied,
      `a socket of uid ${info.uid} with mode ${
        octal(info.mode ?? 0)
      } is there, and whether it is ` +
        `alive cannot be told without permission to connect${remedy} choose another path`,
      { cause, ...ownership(info) },
    );
  }
  return context.error(
    SocketInUse,
    `${WITHOUT_LOCK} ${USES[answer]}. Stop that one first, or choose another path`,
    { cause },
  );
}

/**
 * Removes the socket file of a bind that failed after it created the file. Deno's listeners have
 * removed theirs when they close, but libc's close leaves it.
 */
export async function removeHalfMade(path: string, uid: number | null): Promise<void> {
  const info = lstat(path);
  if (!info?.isSocket || info.uid !== uid) return;
  if ((await tryConnect(path)).answer === "refused") removeIfSame(path, info);
}

/** What helps if a stale socket cannot be removed. */
const REMEDIES: Record<string, string> = {
  EACCES: "Remove it as that user, or choose",
  EBUSY: "It is a mount point: unmount it, or choose",
  EPERM: "Remove it as that user, or choose",
};

/**
 * Removes the stale socket at a path. Returns whether there was one. Throws if anything else is
 * there.
 */
export async function removeStale(context: ErrorContext, signal?: AbortSignal): Promise<boolean> {
  const stale = await requireReplaceable(context, signal);
  if (stale === null) return false;
  try {
    Deno.removeSync(context.path);
    return true;
  } catch (error) {
    const remedy = REMEDIES[codeOf(error) ?? ""] ?? "Choose";
    const state = `a stale socket of uid ${stale.uid} is there, and it could not be removed (${
      stateOf(error)
    }). ${remedy} another path`;
    throw context.fail(error, state);
  }
}
