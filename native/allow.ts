/** A check of clients by their user and groups. */

import type { Connection } from "../connection.ts";
import { checked } from "../_internal/base/caller_stack.ts";
import { checkArguments, checkOptions, type Checks, checkUsers } from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { pathOf, shownPeer } from "../_internal/connection/connection_error.ts";
import { requireLibc } from "../_internal/libc/library.ts";
import type { PacketSocket } from "./packet_socket.ts";
import { type PeerCredentials, peerCredentials } from "./peer_credentials.ts";

/**
 * The clients that {@linkcode allow} admits: those in any of the lists.
 *
 * @category Identity
 */
export interface AllowRules {
  /**
   * Users. A client is admitted if its effective user is one of them.
   *
   * @default {none}
   */
  uids?: number | number[] | undefined;
  /**
   * Groups. A client is admitted if its effective group or a supplementary one is one of them.
   *
   * @default {none}
   */
  gids?: number | number[] | undefined;
}

const CHECKS: Checks<AllowRules> = { uids: checkUsers, gids: checkUsers };

/**
 * Returns a function for `authorize` of `serve()`, which admits clients of certain users and
 * groups.
 *
 * - It returns `true`, or throws `PermissionDenied` that names the client. `serve()` reports that
 *   to `onError`, and closes the connection before the handler runs.
 * - If the client cannot be identified, it throws as well. So no client is admitted by mistake.
 * - It does not replace the mode of the socket file: a client must pass both. For other users, pass
 *   `mode: 0o666` to `serve()`, or 0o660 and a group.
 * - Root is not admitted unless `uids` has 0.
 * - **65534** (`nobody`) also stands for every user that this process's user namespace does not
 *   have. In a container, do not list it.
 * - With `listen()` and `listenPackets()`, call the function for each connection that you accept.
 *   A client can check a server with it, after `connect()`.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 * It is required here, so a server without it does not start.
 *
 * @param rules Users and groups, by their numbers.
 * @returns The function.
 * @throws {TypeError} when the rules admit no client, or are of the wrong kind.
 * @throws {RangeError} when a number is out of range.
 * @throws {Deno.errors.NotSupported} when libc cannot be used.
 * @throws {Deno.errors.NotCapable} when the permission is missing.
 *
 * @example Usage
 * ```ts
 * import { connect, serve } from "@uds/uds";
 * import { allow } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/app.sock`;
 * await using _server = await serve({
 *   path,
 *   mode: 0o666,
 *   authorize: allow({ uids: [0, Deno.uid()!] }),
 * }, async (conn) => {
 *   await conn.writeText("welcome");
 * });
 *
 * const conn = await connect(path);
 * assertEquals(await new Response(conn.readable).text(), "welcome");
 * conn.close();
 * ```
 *
 * @category Identity
 */
export function allow(rules: AllowRules): (conn: Connection | PacketSocket) => boolean {
  return checked(allow, () => {
    checkArguments("allow", arguments, 1, "allow({ uids, gids })");
    checkOptions("allow", rules, CHECKS);
    const { uids, gids } = rules;
    const users = new Set([uids ?? []].flat());
    const groups = new Set([gids ?? []].flat());
    if (users.size + groups.size === 0) {
      throw new TypeError("Invalid rules of allow(): they admit no client. Give uids or gids");
    }
    requireLibc(new ErrorContext("allow", null, "Cannot identify clients"));
    const rule = [...listed("uid", users), ...listed("gid", groups)].join(" or ");
    return (conn) => {
      const peer = peerCredentials(conn);
      if (users.has(peer.uid) || [peer.gid, ...peer.groups].some((gid) => groups.has(gid))) {
        return true;
      }
      const start = `Cannot authorize ${shownPeer(conn)}`;
      const context = new ErrorContext("authorize", pathOf(conn), start);
      const state = `${shown(peer)}, and only ${rule} may connect`;
      throw context.error(Deno.errors.PermissionDenied, state);
    };
  });
}

/** Returns a part of the rule: `uid 0, 1000`. */
function listed(name: string, ids: ReadonlySet<number>): string[] {
  return ids.size === 0 ? [] : [`${name} ${[...ids].join(", ")}`];
}

/** Returns the words for a client that is refused. */
function shown({ pid, uid, gid, groups }: PeerCredentials): string {
  const process = pid === null ? "a process of another namespace" : `process ${pid}`;
  const others = groups.length === 0 ? "" : `, groups ${groups.join(", ")}`;
  return `${process} has uid ${uid}, gid ${gid}${others}`;
}
