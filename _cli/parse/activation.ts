/** The option of a server that a service manager starts, and the Deno permissions with it. */

import type { SocketPath } from "../../address.ts";
import { permissions, type PermissionsOptions } from "../../permissions.ts";
import type { Needs, Options } from "./command.ts";

/** The option. */
export type ActivationFlags = { readonly systemd?: boolean };

/** Its place in the table. */
export const ACTIVATION: Options<ActivationFlags> = {
  systemd: { brief: "serve the socket that a service manager has opened, and no other" },
};

/** The variables with which a manager passes sockets. */
export const LISTEN_VARIABLES = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"] as const;

const ACTIVATED: Needs = {
  env: [...LISTEN_VARIABLES, "NOTIFY_SOCKET", "SYSTEMD_EXEC_PID"],
  run: ["systemd-notify"],
};

/** Returns the Deno permissions to serve a path, or the socket of the manager. */
export function servingNeeds(
  path: SocketPath,
  flags: ActivationFlags,
  options: PermissionsOptions,
): Needs {
  return flags.systemd ? ACTIVATED : permissions("serve", path, options);
}
