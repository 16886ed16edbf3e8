/**
 * Serves a path until a signal asks to stop: what all servers of the command line have in common.
 */

import { isPeerClosed } from "../../_internal/base/peer_closed.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import { serve, type ServeFdOptions, type ServeHandler, type ServeOptions } from "../../server.ts";
import { ownership, type OwnershipFlags } from "../parse/ownership.ts";
import type { ActivationFlags } from "../parse/activation.ts";
import { givenDescriptor, orManagers, tellReady, tellStopping } from "./activation.ts";
import { reporter } from "./reporter.ts";

/** Options of {@linkcode servePath}, besides those of `serve()`. */
export interface ServePathOptions
  extends
    Omit<ServeFdOptions, "fd" | "path" | "signal">,
    Pick<ServeOptions, "existing" | "publish" | "onReplaced"> {
  readonly flags: OwnershipFlags & ActivationFlags & {
    readonly max?: number;
    readonly replace?: boolean;
  };
  /** The mode of the socket file, if this process creates it. By default, that of the flags. */
  readonly mode?: number | undefined;
  readonly signal: AbortSignal;
  /** Reports whether a failure is only that a client left: by default, that it closed. */
  readonly hasLeft?: ((error: unknown) => boolean) | undefined;
}

/**
 * Serves a path, or the socket that a service manager has opened for it, until the signal aborts.
 * Reports its address, failures, and the end.
 */
export async function servePath(
  path: SocketPath,
  options: ServePathOptions,
  handler: ServeHandler,
): Promise<void> {
  const { flags, mode = flags.mode, signal, existing, publish, onReplaced, onListen, ...others } =
    options;
  const { hasLeft = isPeerClosed, ...serving } = others;
  const fd = await givenDescriptor(path, flags);
  const isGiven = fd !== undefined;
  const own = { path, existing, publish, onReplaced, ...await ownership({ ...flags, mode }) };
  const addr = { transport: "unix", path: resolveSocketPath(path) } as const;
  const opening = serve({
    ...isGiven ? { fd } : own,
    signal,
    maxConnections: flags.max,
    onListen: () => onListen === undefined ? reporter.listening(addr.path) : onListen(addr),
    onError: (error) => hasLeft(error) ? reporter.reportLeft(error) : reporter.report(error),
    ...serving,
  }, handler);
  await using server = await orManagers(opening, flags);
  let stopping: Promise<void> | undefined;
  signal.addEventListener("abort", () => {
    reporter.ending();
    stopping = tellStopping(isGiven);
  });
  await tellReady(isGiven);
  await server.finished;
  await stopping;
}
