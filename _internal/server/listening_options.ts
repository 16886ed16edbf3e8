/** What `listen()` and `serve()` have in common: their options, and what they tell of the path. */

import type { SocketPath } from "../../address.ts";
import type { ListenOptions, ServeOptions } from "../../server.ts";
import { CLAIM_CHECKS } from "../path/claim_options.ts";
import {
  checkBoolean,
  checkCount,
  checkFunction,
  type Checks,
  checkSignal,
  duration,
  oneOf,
  unchecked,
} from "../base/check.ts";
import type { PathClaimOptions } from "../path/owned_path.ts";

/** The options of both. */
export type ListeningOptions =
  & { readonly [K in keyof PathClaimOptions]?: PathClaimOptions[K] }
  & Partial<Omit<ListeningEvents, "onError">>
  & { readonly path: SocketPath; readonly signal?: AbortSignal };

/** A check for each option of `listen()`. */
export const LISTEN_CHECKS: Checks<ListenOptions> = {
  path: unchecked,
  ...CLAIM_CHECKS,
  existing: oneOf("reclaim", "fail", "replace"),
  publish: oneOf("direct", "rename"),
  selfHeal: checkBoolean,
  onReplaced: checkFunction,
  onPathLost: checkFunction,
  signal: checkSignal,
};

/** A check for each option of `serve()`. */
export const SERVE_CHECKS: Checks<ServeOptions> = {
  ...LISTEN_CHECKS,
  maxConnections: checkCount,
  idleTimeout: duration(1),
  firstByteTimeout: duration(1),
  writeTimeout: duration(1),
  onListen: checkFunction,
  onError: checkFunction,
};

/** What is at a path that was lost, and whether that is mended. */
export interface Loss {
  path: string;
  found: "nothing" | "socket" | "other";
  heals: boolean;
}

/** What is told of the path. */
export interface ListeningEvents {
  onReplaced: () => void;
  onPathLost: (loss: Loss) => void;
  onError: (error: unknown) => void;
}

/** Throws if `onReplaced` would never be called. */
export function checkEvents({ onReplaced, publish }: ListeningOptions): void {
  if (onReplaced !== undefined && publish !== "rename") {
    throw new TypeError('Invalid onReplaced: it needs publish: "rename"');
  }
}
