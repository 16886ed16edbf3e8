/**
 * Datagram sockets with a name.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "../address.ts";
import { seenFrom } from "../_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkBoolean,
  checkOptions,
  type Checks,
} from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { requireRuntime } from "../_internal/base/runtime.ts";
import { requireLibc } from "../_internal/libc/library.ts";
import { type DatagramSocket, PathDatagrams } from "../_internal/native/path_datagrams.ts";
import { checkPacketBytes, PATH_CHECKS } from "../_internal/native/path_options.ts";
import { PathOwner } from "../_internal/native/path_owner.ts";
import { openUnnamed } from "../_internal/native/path_socket.ts";
import { planToListen } from "../_internal/path/claim_options.ts";
import { Reporter } from "../_internal/server/reporter.ts";
import { nativePermissions } from "./native_permissions.ts";
import type { PacketPathOptions } from "./listen_packets.ts";

export type { Datagram, DatagramSocket } from "../_internal/native/path_datagrams.ts";

/**
 * Options of {@linkcode bindPackets}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode PacketPathOptions.existing | existing}: What to do if a socket file exists, of
 *   whatever type.
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
export interface BindPacketsOptions extends Omit<PacketPathOptions, "path"> {
  /**
   * The path of the socket, or an abstract name. Without it the socket has no name: it can send,
   * and no peer can answer.
   *
   * @default {no name}
   */
  path?: SocketPath | undefined;
  /**
   * Whether to give the socket an abstract name that the system chooses, instead of a path. Every
   * process in the network namespace can send to it. It is for Linux, and needs `--allow-net`.
   *
   * @default {false}
   */
  autobind?: boolean | undefined;
  /**
   * The maximum number of bytes of a packet. The send buffer is made as large as that needs, within
   * the limit of the system (`net.core.wmem_max` on Linux).
   *
   * @default {what the send buffer of the system allows}
   */
  maxPacketBytes?: number | undefined;
}

/**
 * Binds a datagram socket (`SOCK_DGRAM`) to a path that only this process owns.
 *
 * - The path is owned as by `listen()`: a lock, a mode and an owner from the first instant, and a
 *   stale socket file of any type is replaced. A running server never is.
 * - Without a path the socket is unnamed. With `autobind` the system names it.
 * - To send to one receiver only, and to receive from that one only, use `connectPackets({ path,
 *   type: "dgram" })`.
 *
 * **Permissions**: what `permissions("serve", path, options)` returns, and `--allow-ffi` for libc;
 * for each receiver what `permissions("connect", to)` returns. Without a path only `--allow-ffi`,
 * and with `autobind` also `--allow-net`. On Windows it rejects with `NotSupported`.
 *
 * @param options The path, or options.
 * @returns The socket.
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
 * @throws {unknown} the reason of `signal` when it aborts before the socket is bound.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Ask, and answer
 * ```ts
 * import { bindPackets } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const directory = await Deno.makeTempDir();
 * {
 *   await using server = await bindPackets(`${directory}/server.sock`);
 *   await using client = await bindPackets(`${directory}/client.sock`);
 *
 *   await client.send(new TextEncoder().encode("PING"), server.addr.path!);
 *   const { packet, from } = await server.receive();
 *   assertEquals(new TextDecoder().decode(packet), "PING");
 *
 *   await server.send(new TextEncoder().encode("PONG"), from!);
 *   const answer = await client.receive();
 *   assertEquals(answer.from, server.addr.path);
 * }
 * await Deno.remove(directory);
 * ```
 *
 * @category Packets
 */
export async function bindPackets(
  options: SocketPath | BindPacketsOptions = {},
): Promise<DatagramSocket> {
  try {
    checkArguments("bindPackets", arguments, 1, "bindPackets({ path, mode })");
    return await bindAndWrap(options);
  } catch (error) {
    throw seenFrom(bindPackets, error);
  }
}

const CHECKS: Checks<BindPacketsOptions> = {
  ...PATH_CHECKS,
  autobind: checkBoolean,
  maxPacketBytes: checkPacketBytes,
};

async function bindAndWrap(options: SocketPath | BindPacketsOptions): Promise<DatagramSocket> {
  const given: BindPacketsOptions = typeof options === "string" || options instanceof URL
    ? { path: options }
    : options;
  checkOptions("bindPackets", given, CHECKS);
  const { path, autobind = false, maxPacketBytes, signal } = given;
  if (path === undefined) return bindWithoutPath(given);
  if (autobind) throw new TypeError("Invalid autobind: the socket has a path");
  const context = new ErrorContext("bindPackets", resolveSocketPath(path));
  context.later = nativePermissions();
  const plan = planToListen(context, given);
  const libc = requireLibc(context);
  const reporter = new Reporter(given);
  const owner = await PathOwner.bind(libc, plan, { type: "dgram" }, reporter);
  return new PathDatagrams(libc, owner.fd, { owner, reporter, maxPacketBytes, signal });
}

function bindWithoutPath(options: BindPacketsOptions): DatagramSocket {
  const { autobind = false, maxPacketBytes, signal } = options;
  const wrong = Object.keys(PATH_CHECKS).find((name) =>
    name !== "signal" && options[name as keyof BindPacketsOptions] !== undefined
  );
  if (wrong !== undefined) throw new TypeError(`Invalid ${wrong}: the socket has no path`);
  const context = new ErrorContext("bindPackets", null, "Cannot bind a socket without a path");
  requireRuntime();
  if (autobind) context.require({ net: true });
  signal?.throwIfAborted();
  const libc = requireLibc(context);
  const fd = openUnnamed(libc, context, autobind);
  return new PathDatagrams(libc, fd, { reporter: new Reporter(), maxPacketBytes, signal });
}
