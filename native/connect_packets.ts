/**
 * Connecting to a socket that takes packets.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath } from "../address.ts";
import type { ConnectOptions } from "../client.ts";
import { seenFrom } from "../_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkBoolean,
  checkOptions,
  type Checks,
  checkSignal,
  checkUsers,
  duration,
  oneOf,
  unchecked,
  withPath,
} from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { requireRuntime } from "../_internal/base/runtime.ts";
import { socketPermissions } from "../_internal/base/socket_permissions.ts";
import { requireLibc } from "../_internal/libc/library.ts";
import { checkPacketBytes } from "../_internal/native/path_options.ts";
import { openConnected, packetRefusal } from "../_internal/native/path_socket.ts";
import { connectWithin } from "../_internal/path/connect_tries.ts";
import { nativePermissions } from "./native_permissions.ts";
import type { PacketSocket, PacketType } from "./packet_socket.ts";

/**
 * Options of {@linkcode connectPackets}.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode ConnectOptions.path | path}: The path of the socket, or an abstract name.
 * - {@linkcode ConnectOptions.timeout | timeout}: How long, in milliseconds, to try.
 * - {@linkcode ConnectOptions.wait | wait}: Whether to wait for a server that is still starting: to
 *   try again while the file does not exist, no server listens on it, or the file system denies
 *   access.
 * - {@linkcode ConnectOptions.owner | owner}: The user, or a list of users, that must own the
 *   socket file.
 * - {@linkcode ConnectOptions.signal | signal}: Stops trying.
 *
 * @category Packets
 */
export interface ConnectPacketsOptions
  extends Pick<ConnectOptions, "path" | "timeout" | "wait" | "owner" | "signal"> {
  /**
   * The type of the socket at the path.
   *
   * - `"seqpacket"` makes a connection to a server of `listenPackets()`, or of another program.
   * - `"dgram"` sends to a socket of `bindPackets()`, and receives only from that one. It cannot
   *   answer unless this end has a name: see `autobind`.
   *
   * @default {"seqpacket"}
   */
  type?: PacketType | undefined;
  /**
   * Whether to give this end an abstract name that the system chooses, so that the peer can answer.
   * It is for type `"dgram"`, on Linux, and needs `--allow-net`.
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
 * Connects to a socket that takes packets.
 *
 * - It tries, waits and refuses as `connect()` does. If the socket is of another type, the error
 *   says of which.
 * - A `"dgram"` socket has no server that accepts: its owner sees the first packet.
 *
 * **Permissions**: what `permissions("connect", path)` returns, and `--allow-ffi` for libc. With
 * `autobind` also `--allow-net`. On Windows it rejects with `NotSupported`.
 *
 * @param options The path, or the path with options.
 * @returns The socket. Close it when you are done.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the path is too long or a number is out of range.
 * @throws {SocketNotFound} when the file does not exist.
 * @throws {NothingListening} when no socket has the path, or its server does not listen.
 * @throws {NotASocket} when it is not a socket of the type.
 * @throws {ConnectDenied} when the file system does not allow it; with `mode`, `uid` and `gid`.
 * @throws {InsecurePath} when no user in `owner` owns the file.
 * @throws {ConnectTimeout} when the time is over; the last refusal is the `cause`.
 * @throws {Deno.errors.WouldBlock} when the backlog is full and `timeout` is 0.
 * @throws {Deno.errors.NotSupported} when this system lacks the type.
 * @throws {unknown} the reason of `signal` when it aborts.
 * @throws {Deno.errors.NotCapable} when a Deno permission is missing.
 *
 * @example Send a line to a log socket
 * ```ts
 * import { bindPackets, connectPackets } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const path = `${await Deno.makeTempDir()}/log.sock`;
 * await using log = await bindPackets(path);
 *
 * await using socket = await connectPackets({ path, type: "dgram" });
 * await socket.send(new TextEncoder().encode("<14>app: started"));
 * const { packet } = await log.receive();
 * assertEquals(new TextDecoder().decode(packet), "<14>app: started");
 * ```
 *
 * @category Packets
 */
export async function connectPackets(
  options: SocketPath | ConnectPacketsOptions,
): Promise<PacketSocket> {
  try {
    checkArguments("connectPackets", arguments, 1, "connectPackets({ path, type })");
    return await checkAndConnect(options);
  } catch (error) {
    throw seenFrom(connectPackets, error);
  }
}

const CHECKS: Checks<ConnectPacketsOptions> = {
  path: unchecked,
  timeout: duration(),
  wait: checkBoolean,
  owner: checkUsers,
  signal: checkSignal,
  type: oneOf("seqpacket", "dgram"),
  autobind: checkBoolean,
  maxPacketBytes: checkPacketBytes,
};

async function checkAndConnect(options: SocketPath | ConnectPacketsOptions): Promise<PacketSocket> {
  const given: ConnectPacketsOptions = withPath(options);
  checkOptions("connectPackets", given, CHECKS);
  const { type = "seqpacket", autobind = false, maxPacketBytes, signal } = given;
  const context = new ErrorContext("connectPackets", resolveSocketPath(given.path));
  if (autobind && type !== "dgram") {
    throw new TypeError('Invalid autobind: it needs type: "dgram"');
  }
  if (given.owner !== undefined && context.path.startsWith("\0")) {
    throw new TypeError(`${context.start}: an abstract name has no owner to check`);
  }
  requireRuntime();
  const toConnect = socketPermissions("connect", context.path, {});
  context.later = { ...toConnect, ...nativePermissions(), ...(autobind && { net: true }) };
  if (autobind) context.require({ net: true });
  signal?.throwIfAborted();
  const libc = requireLibc(context);
  return await connectWithin(context, given, {
    open: () => openConnected(libc, context, { type, autobind, maxPacketBytes }),
    refusal: (cause) => packetRefusal(context, cause, libc, type),
  });
}
