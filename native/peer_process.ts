/** The process at the other end of a connection, held so that its number is not used again. */

import type { Connection } from "../connection.ts";
import { checked } from "../_internal/base/caller_stack.ts";
import { checkArguments } from "../_internal/base/check.ts";
import { checkConnection, requireDescriptor } from "../_internal/native/checked_connection.ts";
import { openProcess, type PeerProcess } from "../_internal/native/process_handle.ts";

export type { PeerProcess } from "../_internal/native/process_handle.ts";

/**
 * Opens the process at the other end of a connection, by a pidfd: a descriptor that never means
 * another process, although numbers of processes are used again.
 *
 * - It is the process that {@linkcode peerCredentials} names: of a client, the one that called
 *   `connect`.
 * - A socket pair is refused: the kernel knows only which process made it. Use the child's `pid`.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 * It sends signals without `--allow-run`.
 *
 * **Platforms**: Linux 6.5 or newer.
 *
 * @param conn An open connection.
 * @returns The process. Dispose it when you are done.
 * @throws {TypeError} when it is not a connection of this package.
 * @throws {ConnectionClosed} when the connection has closed.
 * @throws {Deno.errors.NotFound} when the process has exited, and its parent knows it.
 * @throws {Deno.errors.NotSupported} when the connection is a socket pair, its descriptor is not
 * known, or the system does not have `SO_PEERPIDFD`.
 * @throws {Deno.errors.NotCapable} when the permission is missing.
 *
 * @example Usage
 * ```ts
 * import { connect, listen } from "@uds/uds";
 * import { peerProcess } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * await using listener = await listen(path);
 * using client = await connect(path);
 * using server = await listener.accept();
 *
 * using peer = peerProcess(server);
 * assertEquals(peer.pid, Deno.pid);
 * ```
 *
 * @category Identity
 */
export function peerProcess(conn: Connection): PeerProcess {
  return checked(peerProcess, () => {
    checkArguments("peerProcess", arguments, 1, "peerProcess(conn)");
    const target = checkConnection("peerProcess", "open the process of", conn);
    return openProcess(target.context, target.libc, requireDescriptor(target));
  });
}
