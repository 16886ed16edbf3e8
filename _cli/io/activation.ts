/** Socket activation: a service manager listens, and passes its socket at descriptor 3. */

import { resolveSocketPath, type SocketPath } from "../../address.ts";
import { SocketInUse } from "../../errors.ts";
import { isGranted } from "../../_internal/base/deno_permissions.ts";
import { shownPath } from "../parse/parameters.ts";

/**
 * Throws if the service manager holds a socket for this process: clients of that socket would get
 * no answer. Without `--allow-env` it cannot be detected.
 *
 * @throws {SocketInUse} if it does.
 */
export function refuseActivation(path: SocketPath): void {
  if (!["LISTEN_PID", "LISTEN_FDS"].every((name) => isGranted("env", name))) return;
  const count = Number(Deno.env.get("LISTEN_FDS"));
  if (Deno.env.get("LISTEN_PID") !== String(Deno.pid) || !(count > 0)) return;
  const held = count === 1 ? "its socket" : `${count} sockets for it`;
  throw new SocketInUse(
    `Cannot serve ${
      JSON.stringify(shownPath(path))
    }: the service manager that started this process ` +
      `holds ${held} (LISTEN_FDS=${count}), and uds cannot take that over. ` +
      "Start it as a service without a socket unit",
    { operation: "serve", path: resolveSocketPath(path) },
  );
}
