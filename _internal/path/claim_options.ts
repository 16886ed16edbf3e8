/** The checks that `claim()`, `listen()` and `serve()` make before they call the system. */

import type { ClaimOptions } from "../../claim.ts";
import type { ListenOptions } from "../../listener.ts";
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

/**
 * A check for each option of `listen()` and `serve()` that needs a file. An abstract name and a
 * descriptor refuse them.
 */
export const FILE_CHECKS: Checks<
  Omit<ListenOptions, "path" | "fd" | "descriptors" | "lowLatency" | "backlog" | "signal">
> = {
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
export function planToListen(context: ErrorContext, options: ListenOptions): ListenPlan {
  const { signal } = options;
  const needsFile = Object.keys(FILE_CHECKS).some((name) =>
    options[name as keyof ListenOptions] !== undefined
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
  options: ClaimOptions & Pick<ListenOptions, "selfHeal">,
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
