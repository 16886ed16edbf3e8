/** What `claim()`, `listen()` and `serve()` check before they ask the system for anything. */

import { resolveSocketPath } from "../../address.ts";
import { permissions, type PermissionsOptions } from "../../permissions.ts";
import { requireGrants } from "../base/deno_permissions.ts";
import { checkBoolean, checkId, checkMode, type Checks, oneOf } from "../base/check.ts";
import type { ClaimOptions } from "../../claim.ts";
import type { PathClaimOptions } from "./owned_path.ts";
import { requireRuntime } from "../base/runtime.ts";
import { attempt } from "../base/failure.ts";

/** A check for each option of `claim()`. */
export const CLAIM_CHECKS: Checks<ClaimOptions> = {
  mode: checkMode,
  uid: checkId,
  gid: checkId,
  existing: oneOf("reclaim", "fail"),
  createDirectory: checkBoolean,
  verifyDirectory: checkBoolean,
};

type Given = { readonly [K in keyof PathClaimOptions]?: PathClaimOptions[K] | undefined };

/** Fills in the defaults of checked options. */
export function claimDefaults(options: Given): PathClaimOptions {
  if (options.publish !== "rename") {
    const alone = options.existing === "replace"
      ? 'existing: "replace"'
      : options.selfHeal
      ? "selfHeal"
      : undefined;
    if (alone !== undefined) {
      throw new TypeError(
        `Invalid ${alone}: it needs publish: "rename"${
          options.existing === "replace" ? ", here and of the server that is replaced" : ""
        }`,
      );
    }
  }
  return {
    mode: options.mode ?? 0o600,
    uid: options.uid,
    gid: options.gid,
    existing: options.existing ?? "reclaim",
    createDirectory: options.createDirectory ?? false,
    verifyDirectory: options.verifyDirectory ?? false,
    publish: options.publish ?? "direct",
    selfHeal: options.selfHeal ?? false,
  };
}

/** Throws unless there can be a claim at the path, here, with what is granted. */
export function requireClaimable(
  operation: "claim" | "listen" | "serve",
  path: string,
  { publish, createDirectory, verifyDirectory }: Given,
): void {
  if (path.startsWith("\0")) {
    throw new TypeError(
      `${
        attempt(operation, path)
      }: an abstract name has no file, so there is nothing to claim and ` +
        `no mode to set. Pass a path${operation === "claim" ? "" : ", or no such option"}`,
    );
  }
  // The other name is bound, so it must not be too long either.
  if (publish === "rename") resolveSocketPath(`${path}.new`);
  requireRuntime();
  const needed: PermissionsOptions = {};
  if (publish !== undefined) needed.publish = publish;
  if (createDirectory !== undefined) needed.createDirectory = createDirectory;
  if (verifyDirectory !== undefined) needed.verifyDirectory = verifyDirectory;
  requireGrants(
    attempt(operation, path),
    permissions(operation === "claim" ? "claim" : "serve", path, needed),
    { operation, path },
  );
}
