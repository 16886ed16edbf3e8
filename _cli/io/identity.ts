/** The identity of clients, by the native module, which is loaded for this only. */

import { areGranted, requireGrants } from "../../_internal/base/deno_permissions.ts";
import type { Connection } from "../../connection.ts";
import type { PeerCredentials } from "../../native/peer_credentials.ts";
import type { Needs } from "../parse/command.ts";

/** The native module. */
export type Native = typeof import("./native.ts");

/** Returns the Deno permission to identify clients. */
export async function identityNeeds(): Promise<Needs> {
  return (await import("../../native/native_permissions.ts")).nativePermissions();
}

/**
 * Loads the native module. Throws unless its permission is granted.
 *
 * @param operation The command.
 * @param needs All that the command needs.
 */
export async function loadNative(operation: string, needs: Needs): Promise<Native> {
  const native = await import("./native.ts");
  if (!areGranted(native.nativePermissions())) {
    requireGrants("Cannot identify clients", needs, { operation, path: null });
  }
  return native;
}

/** Returns a client in words: `process 42 of uid 1000, gid 1000`. */
export function shownPeer({ pid, uid, gid }: PeerCredentials): string {
  return `${pid === null ? "a process" : `process ${pid}`} of uid ${uid}, gid ${gid}`;
}

/** Returns the environment variables that describe a client. A pid that is not known is empty. */
export function peerEnvironment(native: Native, conn: Connection): Record<string, string> {
  const { pid, uid, gid } = native.peerCredentials(conn);
  return {
    UDS_PEER_PID: String(pid ?? ""),
    UDS_PEER_UID: String(uid),
    UDS_PEER_GID: String(gid),
  };
}
