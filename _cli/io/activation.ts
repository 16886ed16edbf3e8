/**
 * Socket activation: a service manager opens the socket, starts the command with it, and is told
 * when it is ready and when it stops.
 */

import { ErrorContext } from "../../_internal/base/error_context.ts";
import { isGranted } from "../../_internal/base/deno_permissions.ts";
import { WITHOUT_LOCK } from "../../_internal/path/stale_socket.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import { SocketInUse } from "../../errors.ts";
import type { NotifyOptions } from "../../systemd.ts";
import { UsageError } from "../exit_codes.ts";
import { type ActivationFlags, LISTEN_VARIABLES } from "../parse/activation.ts";
import { shownPath } from "../parse/parameters.ts";
import { reporter } from "./reporter.ts";

/** The options of a server that are about its own file. */
type FileFlags = ActivationFlags & {
  readonly mode?: number | undefined;
  readonly group?: string;
  readonly replace?: boolean;
};

/** What systemd names the connection of a unit with Accept=yes. */
const ACCEPTED = "connection";

/**
 * Returns the descriptor that a service manager has opened for a path; `undefined` if it has not.
 * Without `--allow-env` that cannot be detected.
 */
export async function givenDescriptor(
  path: SocketPath,
  flags: FileFlags,
): Promise<number | undefined> {
  const maySee = LISTEN_VARIABLES.every((name) => isGranted("env", name));
  if (!flags.systemd && !(maySee && Deno.env.get("LISTEN_FDS"))) return undefined;
  const { listenFds } = await import("../../systemd.ts");
  const given = listenFds();
  const context = new ErrorContext("serve", resolveSocketPath(path));
  if (given.length === 0) {
    if (!flags.systemd) return undefined;
    const state =
      "no service manager has opened a socket for this process (LISTEN_FDS). Start it " +
      "by a socket unit, or without --systemd";
    throw context.error(Deno.errors.NotFound, state);
  }
  const names = given.map(({ name }) => name);
  if (names.includes(ACCEPTED)) {
    const state = "the service manager accepts by itself (Accept=yes), and has passed one " +
      "connection. Let the unit run your command, with StandardInput=socket, or set Accept=no";
    throw context.error(SocketInUse, state);
  }
  const found = given.find(({ name }) => belongsTo(name, shownPath(context.path), given.length));
  if (found === undefined) {
    const state = `the service manager has opened ${
      names.map((n) => JSON.stringify(n)).join(", ")
    } ` +
      "for this process. Set FileDescriptorName= of its socket unit to the path";
    throw context.error(SocketInUse, state);
  }
  for (const name of ["mode", "group", "replace"] as const) {
    if (flags[name] === undefined) continue;
    throw new UsageError(
      `--${name} is for a socket of its own, and the manager has opened this one`,
    );
  }
  return found.fd;
}

/** Adds the remedy for a socket that a service manager may hold: it has no lock. */
export async function orManagers<Server>(
  opening: Promise<Server>,
  flags: ActivationFlags,
): Promise<Server> {
  try {
    return await opening;
  } catch (error) {
    const isUnlocked = error instanceof SocketInUse &&
      error.message.includes(`${WITHOUT_LOCK} listens there`);
    if (isUnlocked && !flags.systemd) {
      error.message +=
        ". If a service manager listens there, let it start this command, with --systemd";
    }
    throw error;
  }
}

/** Throws if a service manager has opened a socket for a path that cannot be served with it. */
export async function refuseGiven(path: SocketPath, flags: FileFlags): Promise<void> {
  if (await givenDescriptor(path, flags) === undefined) return;
  throw new ErrorContext("serve", resolveSocketPath(path)).error(
    SocketInUse,
    "the service manager has opened a socket for this process, and packets are served on a " +
      "socket of its own only. Start it as a service without a socket unit",
  );
}

/**
 * Reports whether a name of a descriptor is that of a path. A name that is a path or `@name` must
 * be the same. One of several must be the same as the file, without its ending.
 */
function belongsTo(name: string, path: string, count: number): boolean {
  if (/^[/@]/.test(name)) return name === path;
  const stem = (text: string) => text.replace(/^.*\/|^@/, "").replace(/\.(?:sock|socket)$/, "");
  return count === 1 || stem(name) === stem(path);
}

/** Reports to the service manager that the server listens, if this process is its service. */
export async function tellReady(hasSocket: boolean): Promise<void> {
  if (isService(hasSocket)) await tell({ ready: true });
}

/** Reports to it that the server reloads. A failure is printed. */
export async function tellReloading(hasSocket: boolean): Promise<void> {
  if (isService(hasSocket)) {
    await tell({ reloading: true }).catch((error) => reporter.report(error));
  }
}

/** Reports to it that the server ends. A failure is printed. */
export async function tellStopping(hasSocket: boolean): Promise<void> {
  if (isService(hasSocket)) await tell({ stopping: true }).catch((error) => reporter.report(error));
}

/**
 * Reports whether the manager has started this process itself. Another one inherits the variables,
 * and must not speak for the service.
 */
function isService(hasSocket: boolean): boolean {
  if (!isGranted("env", "NOTIFY_SOCKET")) return false;
  return hasSocket ||
    isGranted("env", "SYSTEMD_EXEC_PID") && Deno.env.get("SYSTEMD_EXEC_PID") === `${Deno.pid}`;
}

async function tell(state: Pick<NotifyOptions, "ready" | "reloading" | "stopping">): Promise<void> {
  if (Deno.env.get("NOTIFY_SOCKET") === undefined) return;
  const { notify } = await import("../../systemd.ts");
  await notify(state);
}
