/** `uds rm PATH…`: removes dead sockets. */

import { resolveSocketPath, type SocketPath } from "../../address.ts";
import { permissions } from "../../permissions.ts";
import { claim } from "../../claim.ts";
import { isSocketError, SocketNotFound } from "../../errors.ts";
import { probe } from "../../probe.ts";
import { OK } from "../exit_codes.ts";
import { requireGrants, union } from "../parse/deno_permissions.ts";
import { shownPath } from "../parse/parameters.ts";
import { print } from "../io/output.ts";
import { json } from "../text/printable.ts";
import { type CommonFlags, Talk } from "../io/reporter.ts";

/** The command. */
export async function rm(flags: CommonFlags, ...paths: SocketPath[]): Promise<number> {
  requireGrants("Cannot remove sockets", needs(paths));
  const talk = new Talk(flags);
  const removed: string[] = [];
  let code = OK;
  for (const path of paths) {
    try {
      await remove(resolveSocketPath(path));
      removed.push(shownPath(path));
      if (!flags.json) talk.say(`removed ${shownPath(path)}`, {});
    } catch (error) {
      const failure = talk.fail(error);
      if (code === OK) code = failure;
    }
  }
  if (flags.json) await print(`${json({ removed })}\n`);
  return code;
}

/** The permissions that it takes. */
export function needs(paths: readonly SocketPath[]): Deno.PermissionOptionsObject {
  return union(paths.map((path) => permissions("claim", path)));
}

/** Removes a socket that nobody listens on: to own its path does just that, or refuses. */
async function remove(path: string): Promise<void> {
  // A claim makes no difference between a path that was free and one that it has cleared. Where there is
  // nothing, whatever has the name of a lock is nobody's, and stays.
  if (!path.startsWith("\0") && !exists(path) && !await isClaimed(path)) {
    throw new SocketNotFound(`Cannot remove ${JSON.stringify(path)}: there is no such file`, {
      operation: "rm",
      path,
    });
  }
  try {
    const claimed = await claim(path);
    await claimed.release();
  } catch (error) {
    // Whoever removes does not want another path.
    if (isSocketError(error)) {
      error.message = error.message.replace(/^Cannot claim/, "Cannot remove")
        .replace(/(, or|\.) choose another path$/i, "");
    }
    throw error;
  }
}

/** Whether somebody holds the lock of a path. */
async function isClaimed(path: string): Promise<boolean> {
  return (await probe(path, { connect: false })).state === "claimed";
}

function exists(path: string): boolean {
  try {
    Deno.lstatSync(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}
