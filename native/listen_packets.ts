/**
 * Servers of connections that carry packets.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "../address.ts";
import { seenFrom } from "../_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkOptions,
  type Checks,
  integer,
  withPath,
} from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { requireLibc } from "../_internal/libc/library.ts";
import { planToListen } from "../_internal/path/claim_options.ts";
import { type PacketListener, PathListener } from "../_internal/native/path_listener.ts";
import {
  checkPacketBytes,
  type PacketPathOptions,
  PATH_CHECKS,
} from "../_internal/native/path_options.ts";
import { PathOwner } from "../_internal/native/path_owner.ts";
import { Reporter } from "../_internal/server/reporter.ts";
import { nativePermissions } from "./native_permissions.ts";

export type { PacketListener } from "../_internal/native/path_listener.ts";
export type { PacketPathOptions } from "../_internal/native/path_options.ts";

/**
 * Options of {@linkcode listenPackets}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode PacketPathOptions.existing | existing}: What to do if a socket file exists, of
 *   whatever type.
 * - {@linkcode ListenOptions.path | path}: The path of the socket, or an abstract name.
 * - {@linkcode ListenOptions.onPathLost | onPathLost}: Called when the path no longer leads to this
 *   server, because its socket file was removed or replaced: once for each loss.
 * - {@linkcode ListenOptions.signal | signal}: Closes the listener, or shuts down the server.
 * - {@linkcode ClaimOptions.mode | mode}: The permission bits of the socket file, at most `0o777`,
 *   with the owner's write bit.
 * - {@linkcode ClaimOptions.uid | uid}: The user that owns the socket file.
 * - {@linkcode ClaimOptions.gid | gid}: The group of the socket file.
 * - {@linkcode ClaimOptions.createDirectory | createDirectory}: Whether to create the directory of
 *   the socket, and missing ones above it, with mode 0700.
 * - {@linkcode ClaimOptions.verifyDirectory | verifyDirectory}: Whether to reject with
 *   `InsecurePath` unless the directory of the socket is safe: no other user can put another file
 *   in the place of the socket.
 *
 * @category Packets
 */
export interface ListenPacketsOptions extends PacketPathOptions {
  /**
   * The maximum number of connections that wait to be accepted. Further clients are refused with
   * `EAGAIN`, and `connectPackets()` tries again. The system may have a lower limit.
   *
   * @default {1024}
   */
  backlog?: number | undefined;
  /**
   * The maximum number of bytes of a packet. The send buffer of each connection is made as large as
   * that needs, within the limit of the system (`net.core.wmem_max` on Linux).
   *
   * @default {what the send buffer of the system allows}
   */
  maxPacketBytes?: number | undefined;
}

/**
 * Listens on a path that only this process owns, for connections that carry packets
 * (`SOCK_SEQPACKET`).
 *
 * - The path is owned as by `listen()`: a lock, a mode and an owner from the first instant, and a
 *   stale socket file of any type is replaced. A running server never is.
 * - Clients connect with {@linkcode connectPackets}, or with `socket(AF_UNIX, SOCK_SEQPACKET, 0)`
 *   in other languages. A client of a stream socket is refused by the kernel (`EPROTOTYPE`).
 * - The path is watched: see `onPathLost`. The watch does not keep the process running.
 *
 * **Permissions**: what `permissions("serve", path, options)` returns, and `--allow-ffi` for libc.
 * On macOS, which has no such sockets, and on Windows it rejects with `NotSupported`.
 *
 * @param options The path, or the path with options.
 * @returns The listener.
 * @throws {TypeError} when an argument has the wrong type.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketInUse} when a running process holds the path, with a socket of any type.
 * @throws {NotASocket} when the path leads to something else.
 * @throws {ConnectDenied} when this process may not connect to the socket that is there.
 * @throws {InsecurePath} when the lock file is another program's, or the directory is not safe to
 * use.
 * @throws {Deno.errors.NotFound} when the directory does not exist.
 * @throws {Deno.errors.PermissionDenied} when this process may not create a file in the directory,
 * or may not give it to the user or the group.
 * @throws {Deno.errors.NotSupported} when this system lacks them.
 * @throws {unknown} the reason of `signal` when it aborts before the socket listens.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Usage
 * ```ts
 * import { connectPackets, listenPackets } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const directory = await Deno.makeTempDir();
 * {
 *   await using listener = await listenPackets(`${directory}/packets.sock`);
 *   await using client = await connectPackets(`${directory}/packets.sock`);
 *   await using served = await listener.accept();
 *
 *   await client.send(new TextEncoder().encode("hello"));
 *   assertEquals(new TextDecoder().decode((await served.receive())!), "hello");
 * }
 * await Deno.remove(directory);
 * ```
 *
 * @category Packets
 */
export async function listenPackets(
  options: SocketPath | ListenPacketsOptions,
): Promise<PacketListener> {
  try {
    checkArguments("listenPackets", arguments, 1, "listenPackets({ path, mode })");
    return await openListener(options);
  } catch (error) {
    throw seenFrom(listenPackets, error);
  }
}

const DEFAULT_BACKLOG = 1024;

const CHECKS: Checks<ListenPacketsOptions> = {
  ...PATH_CHECKS,
  backlog: integer(0, 0x7fff_ffff),
  maxPacketBytes: checkPacketBytes,
};

async function openListener(options: SocketPath | ListenPacketsOptions): Promise<PacketListener> {
  const given: ListenPacketsOptions = withPath(options);
  checkOptions("listenPackets", given, CHECKS);
  const context = new ErrorContext("listenPackets", resolveSocketPath(given.path));
  context.later = nativePermissions();
  const plan = planToListen(context, given);
  const libc = requireLibc(context);
  const { signal, maxPacketBytes, backlog = DEFAULT_BACKLOG } = given;
  const reporter = new Reporter(given);
  const owner = await PathOwner.bind(libc, plan, { type: "seqpacket", backlog }, reporter);
  return new PathListener(libc, owner, { path: context.path, maxPacketBytes, reporter, signal });
}
