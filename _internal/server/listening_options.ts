/** What `listen()` and `serve()` have in common: their options, and what they tell of the path. */

import type { SocketPath } from "../../address.ts";
import { CLAIM_OPTIONS } from "../path/claim_options.ts";
import { checkFunction } from "../base/check.ts";
import type { PathClaimOptions } from "../path/owned_path.ts";

/** The options of both. */
export type ListeningOptions =
  & { readonly [K in keyof PathClaimOptions]?: PathClaimOptions[K] }
  & Partial<Omit<ListeningEvents, "onError">>
  & { readonly path: SocketPath; readonly signal?: AbortSignal };

/** Their names. */
export const LISTENING_OPTIONS: readonly string[] = [
  "path",
  ...CLAIM_OPTIONS,
  "publish",
  "selfHeal",
  "onReplaced",
  "onPathLost",
  "signal",
];

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

/** Refuses a callback that is no function, or would never be called. */
export function checkEvents({ onReplaced, onPathLost, publish }: ListeningOptions): void {
  if (onReplaced !== undefined) checkFunction("onReplaced", onReplaced);
  if (onPathLost !== undefined) checkFunction("onPathLost", onPathLost);
  if (onReplaced !== undefined && publish !== "rename") {
    throw new TypeError('Invalid onReplaced: it needs publish: "rename"');
  }
}
