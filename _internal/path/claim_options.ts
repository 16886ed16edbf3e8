/** The options of `claim()`, and the checks that `claim()`, `listen()` and `serve()` make. */

import {
  checkBoolean,
  checkFunction,
  checkId,
  checkMode,
  type Checks,
  oneOf,
} from "../base/check.ts";
import type { ErrorContext } from "../base/error_context.ts";
import { requireRuntime } from "../base/runtime.ts";
import { checkPathLength } from "../base/socket_path.ts";
import { socketPermissions } from "../base/socket_permissions.ts";
import type { OwnedPathOptions } from "./owned_path.ts";
import type { PathLoss } from "./watch.ts";

/**
 * Options of {@linkcode claim}, which `listen()` and `serve()` have too.
 *
 * @category Servers
 */
export interface ClaimOptions {
  /**
   * The permission bits of the socket file, at most `0o777`, with the owner's write bit. On Linux
   * and macOS every user with write permission may connect. Some BSDs ignore the file's mode: there
   * the directory must keep other users out. The default admits the owner alone.
   *
   * The mode is set by `chmod` only in a directory that is known to be safe (see
   * `verifyDirectory`), for which this process needs read permission. Elsewhere another user could
   * lead `chmod` to some other file. There the socket keeps the mode that it was created with, if
   * its write bits are right. Its read and execute bits may differ, because they have no effect. If
   * the write bits are wrong, the start rejects with `NotCapable`, or with `InsecurePath` if the
   * directory is not safe.
   *
   * @default {0o600}
   */
  mode?: number | undefined;
  /**
   * The user that owns the socket file. Only root may give files to other users, and only in a
   * directory that is known to be safe: see `mode`.
   *
   * @default {the user of this process}
   */
  uid?: number | undefined;
  /**
   * The group of the socket file. Except for root it must be one of the user's own. As for `uid`,
   * the directory must be known to be safe, unless the file is created with that group.
   *
   * @default {the group that the system chooses}
   */
  gid?: number | undefined;
  /**
   * What to do about a socket file that exists already.
   *
   * - `"reclaim"` removes it if it is stale: its lock is free, and it refuses connections twice,
   *   100 ms apart.
   * - `"fail"` rejects with `SocketInUse`.
   * - `"replace"` takes over the path from a running server of this package and of the same user,
   *   which must have `publish: "rename"` too. Otherwise it is the same as `"reclaim"`. It is
   *   experimental.
   *
   * Otherwise the call rejects if a server answers, or if the file is not a socket.
   *
   * @default {"reclaim"}
   */
  existing?: "reclaim" | "fail" | "replace" | undefined;
  /**
   * How the socket file gets its name.
   *
   * - `"direct"`: {@linkcode SocketClaim.bind} binds the path itself.
   * - `"rename"`: it binds `<path>.new`, secures it, and renames it over the path. A client never
   *   meets a socket that is not ready, and a successor can replace the server without a gap. The
   *   claim then closes the server: see {@linkcode SocketClaim.release}.
   *
   * `"rename"` needs more permissions, and the path may have four bytes fewer. A server that is
   * killed while it starts, or in the moment after it was replaced, may leave `<path>.new`,
   * `<path>.lock.new` or `<path>.old`. The next start removes them.
   *
   * @default {"direct"}
   */
  publish?: "direct" | "rename" | undefined;
  /**
   * Called once, when a successor with `existing: "replace"` has taken over the path. The claim
   * then closes the server as {@linkcode SocketClaim.release} does. Do not close it yourself.
   *
   * - Clients that have reached the server are still served, for at least a second.
   * - A client that keeps its connection would be cut off between two requests. From now on answer
   *   with `connection: close`, and it reconnects to the successor.
   *
   * @experimental
   */
  onReplaced?: (() => void) | undefined;
  /**
   * Whether to create the directory of the socket, and missing ones above it, with mode 0700.
   *
   * @default {false}
   */
  createDirectory?: boolean | undefined;
  /**
   * Whether to reject with `InsecurePath` unless the directory of the socket is safe: no other user
   * can put another file in the place of the socket.
   *
   * - The directory and each one above it must belong to root or to this user.
   * - Other users must not be able to write to any of them, unless it has the sticky bit.
   * - The directory must not be a symbolic link. One above it may be, if the directories that it
   *   leads through are safe.
   *
   * They are checked before and after the bind. That needs read permission for each of them, so it
   * is not the default. The root directory is checked only if this process may read it.
   *
   * @default {false}
   */
  verifyDirectory?: boolean | undefined;
}

/** A check for each option of `claim()`. */
export const OWN_CHECKS: Checks<ClaimOptions> = {
  mode: checkMode,
  uid: checkId,
  gid: checkId,
  existing: oneOf("reclaim", "fail", "replace"),
  publish: oneOf("direct", "rename"),
  onReplaced: checkFunction,
  createDirectory: checkBoolean,
  verifyDirectory: checkBoolean,
};

/** The options of `listen()` and `serve()` that need a file. */
interface FileOptions extends ClaimOptions {
  selfHeal?: boolean | undefined;
  onPathLost?: ((loss: PathLoss) => void) | undefined;
}

/** A check for each of them. An abstract name and a descriptor refuse these options. */
export const FILE_CHECKS: Checks<FileOptions> = {
  ...OWN_CHECKS,
  selfHeal: checkBoolean,
  onPathLost: checkFunction,
};

/** What `listen()` and `serve()` do, decided before they touch a file. */
export interface ListenPlan {
  /** The path, and the operation that the errors name. */
  readonly context: ErrorContext;
  /** How to own the path; `undefined` for an abstract name. */
  readonly owned: OwnedPathOptions | undefined;
  /** Ends the start, and then the listener or the server. */
  readonly signal: AbortSignal | undefined;
}

/**
 * Returns the plan of a call with checked options. Throws if they contradict each other, or if this
 * process may not listen there.
 */
export function planToListen(
  context: ErrorContext,
  options: FileOptions & { signal?: AbortSignal | undefined },
): ListenPlan {
  const { signal } = options;
  const needsFile = Object.keys(FILE_CHECKS).some((name) =>
    options[name as keyof FileOptions] !== undefined
  );
  let owned: OwnedPathOptions | undefined;
  if (context.path.startsWith("\0") && !needsFile) {
    requireRuntime();
    context.require({ net: true });
  } else {
    owned = planToOwn(context, options);
  }
  signal?.throwIfAborted();
  return { context, owned, signal };
}

/**
 * Returns how to own a path, by checked options. Throws if they contradict each other, or if this
 * process may not own the path.
 */
export function planToOwn(
  context: ErrorContext,
  options: FileOptions,
): OwnedPathOptions {
  const { mode = 0o600, uid, gid, existing = "reclaim", publish = "direct" } = options;
  const { createDirectory = false, verifyDirectory = false, selfHeal = false } = options;
  const { operation, path, start } = context;
  if (publish !== "rename") {
    if (options.onReplaced !== undefined) {
      throw new TypeError('Invalid onReplaced: it needs publish: "rename"');
    }
    if (existing === "replace") {
      throw new TypeError(
        `Invalid existing: "replace": it needs publish: "rename", here and of the server that is replaced`,
      );
    }
    if (selfHeal) throw new TypeError(`Invalid selfHeal: it needs publish: "rename"`);
  }
  if (path.startsWith("\0")) {
    throw new TypeError(
      `${start}: an abstract name has no file, so there is nothing to claim and no mode to set. ` +
        `Pass a path${operation === "claim" ? "" : ", or no such option"}`,
    );
  }
  // The other name is bound, so it must not be too long either.
  if (publish === "rename") checkPathLength(`${path}.new`);
  requireRuntime();
  const kind = operation === "claim" ? "claim" : "serve";
  context.require(socketPermissions(kind, path, { publish, createDirectory, verifyDirectory }));
  return { mode, uid, gid, existing, createDirectory, verifyDirectory, publish, selfHeal };
}
