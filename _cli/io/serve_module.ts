/** `uds serve PATH --module FILE`: a path that processes of a module serve. */

import { absolutePath } from "../../_internal/base/path.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import { permissions } from "../../permissions.ts";
import { UsageError } from "../exit_codes.ts";
import { type ActivationFlags, servingNeeds } from "../parse/activation.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import {
  ownership,
  type OwnershipFlags,
  ownershipNeeds,
  ownershipPermissions,
} from "../parse/ownership.ts";
import {
  givenDescriptor,
  orManagers,
  tellReady,
  tellReloading,
  tellStopping,
} from "./activation.ts";
import { readOptionFile } from "./option_file.ts";
import { reporter } from "./reporter.ts";
import { onSignal, stopSignal } from "./signals.ts";

/** The options of a module. */
export type ModuleFlags = {
  readonly module?: string;
  readonly workers?: number;
  readonly allow?: Deno.PermissionOptionsObject;
  readonly config?: string;
};

/** The options of `uds serve` that it heeds. */
type Flags = CommonFlags & ModuleFlags & OwnershipFlags & ActivationFlags & {
  readonly max?: number;
  readonly idle?: number;
  readonly replace?: boolean;
};

/** The options of `uds serve` that a module has no use for, or handles itself. */
const OTHERS = ["framing", "hex", "allow-user", "allow-group", "peer-env"] as const;

/** Throws if options do not go together with a module, or need one. */
export function checkModule(
  flags: ModuleFlags & { readonly [name in typeof OTHERS[number]]?: unknown },
): void {
  if (flags.module !== undefined) {
    const other = OTHERS.find((name) => flags[name] !== undefined);
    if (other === undefined) return;
    throw new UsageError(`--module and --${other} do not go together`);
  }
  for (const name of ["workers", "allow", "config"] as const) {
    if (flags[name] !== undefined) throw new UsageError(`--${name} needs --module`);
  }
}

/** Serves until a signal. SIGHUP starts the module anew, SIGUSR2 prints figures. */
export async function serveModule(flags: Flags, path: SocketPath): Promise<void> {
  const { workers = 1, allow, config, max, idle, replace } = flags;
  // Otherwise the error would name the module.
  if (config !== undefined) await readOptionFile(config);
  const signal = stopSignal(undefined, ["SIGINT", "SIGTERM"]);
  const { serveWorkers } = await import("../../workers.ts");
  const fd = await givenDescriptor(path, flags);
  const isGiven = fd !== undefined;
  const own = {
    path,
    ...await ownership(flags),
    ...(replace && {
      existing: "replace" as const,
      onReplaced: () => reporter.say("replaced", { event: "replaced" }),
    }),
  };
  const starting = serveWorkers({
    ...isGiven ? { fd } : own,
    count: workers,
    permissions: allow ?? "none",
    config: config === undefined ? undefined : urlOf(config),
    maxConnections: max,
    idleTimeout: idle,
    signal,
    onError: (error) => reporter.report(error),
  }, urlOf(flags.module!));
  // Also during the start, which the signal would end otherwise.
  onSignal("SIGHUP", async () => {
    const server = await starting.catch(() => undefined);
    if (server === undefined || signal.aborted) return;
    await tellReloading(isGiven);
    const failure = await server.reload().catch((error) => error);
    // A successor ends it, too.
    if (signal.aborted || failure instanceof Deno.errors.BadResource) return;
    if (failure === undefined) reporter.say("reloaded", { event: "reloaded" });
    else reporter.report(failure);
    // Also if the old processes go on.
    await tellReady(isGiven).catch((error) => reporter.report(error));
  });
  await using server = await orManagers(starting, flags);
  let stopping: Promise<void> | undefined;
  signal.addEventListener("abort", () => {
    reporter.ending();
    stopping = tellStopping(isGiven);
  });
  onSignal("SIGUSR2", async () => {
    const { workers, lost } = await server.statistics();
    for (const { pid, connections, accepted, draining, answers } of workers) {
      const state = draining ? ", draining" : answers ? "" : ", busy";
      const text = `worker ${pid}: ${connections} open, ${accepted} accepted${state}`;
      reporter.say(text, { event: "worker", pid, connections, accepted, draining, answers });
    }
    reporter.say(`${lost} lost`, { event: "workers", lost });
  });
  reporter.listening(resolveSocketPath(path));
  await tellReady(isGiven);
  await server.finished;
  await stopping;
}

/** Returns the Deno permissions that it needs. */
export function moduleNeeds(flags: Flags, path: SocketPath): Needs {
  const own = { ...ownershipPermissions(flags), publish: "rename" as const };
  return union([
    flags.systemd ? servingNeeds(path, flags, own) : permissions("claim", path, own),
    permissions("pair", urlOf(flags.module!)),
    flags.config === undefined ? {} : { read: [flags.config] },
    ownershipNeeds(flags),
  ]);
}

/** Returns the URL of a file. */
function urlOf(file: string): URL {
  return new URL(`file://${absolutePath(file).split("/").map(encodeURIComponent).join("/")}`);
}
