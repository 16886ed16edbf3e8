/**
 * Serves a path until a signal asks to stop: what all servers of the command line have in common.
 */

import type { SocketPath } from "../../address.ts";
import { serve, type ServeHandler, type ServeOptions } from "../../server.ts";
import { ownership, type OwnershipFlags } from "../parse/ownership.ts";
import { refuseActivation } from "./activation.ts";
import { reporter } from "./reporter.ts";

/** Options of {@linkcode servePath}, besides those of `serve()`. */
export interface ServePathOptions extends Omit<ServeOptions, "path" | "mode" | "gid"> {
  readonly flags: OwnershipFlags & { readonly max?: number };
  readonly signal: AbortSignal;
}

/** Serves a path until the signal aborts. Reports its address, failures, and the end. */
export async function servePath(
  path: SocketPath,
  { flags, signal, ...options }: ServePathOptions,
  handler: ServeHandler,
): Promise<void> {
  refuseActivation(path);
  await using server = await serve({
    path,
    signal,
    ...await ownership(flags),
    maxConnections: flags.max,
    onListen: (addr) => reporter.listening(addr.path),
    onError: (error) => reporter.report(error),
    ...options,
  }, handler);
  signal.addEventListener("abort", () => reporter.ending());
  await server.finished;
}
