/** `uds rm PATH…`: removes stale sockets. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import { ErrorContext } from "../../_internal/base/error_context.ts";
import { lstat } from "../../_internal/base/file.ts";
import { planToOwn } from "../../_internal/path/claim_options.ts";
import { OwnedPath } from "../../_internal/path/owned_path.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import { isSocketError, SocketNotFound } from "../../errors.ts";
import { permissions } from "../../permissions.ts";
import { probe } from "../../probe.ts";
import { OK } from "../exit_codes.ts";
import { print } from "../io/output.ts";
import { reporter } from "../io/reporter.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import { shownPath } from "../parse/parameters.ts";
import { json } from "../text/printable.ts";

/** The command. */
export async function run(flags: CommonFlags, paths: readonly SocketPath[]): Promise<number> {
  requireGrants("Cannot remove sockets", needs(flags, paths), { operation: "rm", path: null });
  const removed: string[] = [];
  let code = OK;
  for (const path of paths) {
    try {
      await remove(resolveSocketPath(path));
      removed.push(shownPath(path));
      if (!flags.json) reporter.say(`removed ${shownPath(path)}`, {});
    } catch (error) {
      const failure = reporter.fail(error);
      code ||= failure;
    }
  }
  if (flags.json) await print(`${json({ removed })}\n`);
  return code;
}

/** Returns the Deno permissions that it needs. */
export function needs(_flags: CommonFlags, paths: readonly SocketPath[]): Needs {
  return union(paths.map((path) => permissions("claim", path)));
}

/** Removes a stale socket. A claim of its path does just that, or throws. */
async function remove(path: string): Promise<void> {
  const absent = () => new ErrorContext("rm", path).error(SocketNotFound, "there is no such file");
  // Without a socket, a lock file beside the path stays.
  if (!path.startsWith("\0") && lstat(path) === null) {
    const { state } = await probe(path, { connect: false });
    if (state !== "claimed") throw absent();
  }
  try {
    const context = new ErrorContext("claim", path);
    const owned = await OwnedPath.acquire(context, planToOwn(context, {}));
    owned.release();
    // Another process may have removed it while this one waited for the lock.
    if (!owned.hasRemovedStale) throw absent();
  } catch (error) {
    // Another path is not a remedy here.
    if (isSocketError(error)) {
      error.message = error.message.replace(/^Cannot claim/, "Cannot remove")
        .replace(/(, or|\.) choose another path$/i, "");
    }
    throw error;
  }
}
