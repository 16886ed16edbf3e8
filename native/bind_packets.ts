/**
 * Datagram sockets with a name.
 *
 * @module
 */

import { resolveSocketPath, type SocketPath, type UnixAddr } from "../address.ts";
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
import { PathDatagrams } from "../_internal/native/path_datagrams.ts";
import { checkPacketBytes, PATH_CHECKS } from "../_internal/native/path_options.ts";
import { PathOwner } from "../_internal/native/path_owner.ts";
import { openUnnamed } from "../_internal/native/path_socket.ts";
import { planToListen } from "../_internal/path/claim_options.ts";
import { Reporter } from "../_internal/server/reporter.ts";
import { nativePermissions } from "./native_permissions.ts";
import type { PacketPathOptions } from "./listen_packets.ts";
import type { PacketWaitOptions } from "./packet_socket.ts";

/**
 * Options of {@linkcode bindPackets}.
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
 * A packet, and the socket that sent it.
 *
 * @category Packets
 */
export interface Datagram {
  /** The bytes, in memory of their own. */
  readonly packet: Uint8Array<ArrayBuffer>;
  /**
   * The name of the sender, to which `send` can answer; `null` if it has none, or one that is not
   * UTF-8. It is the name that the sender has bound: a relative path starts at the sender's working
   * directory.
   */
  readonly from: string | null;
}

/**
 * A datagram socket that sends to any path, and receives from any sender.
 *
 * - **Order**: packets to one path arrive in the order in which `send` was called. Receives are
 *   served in the order in which they were called.
 * - **Sizes**: from 0 bytes to {@linkcode DatagramSocket.maxPacketBytes}. A packet is never cut. A
 *   larger one rejects with `MessageTooLarge`, which has its size, and the socket goes on.
 * - **Backpressure**: `send` resolves when the kernel has put the packet into the queue of the
 *   receiver, which on Linux holds 11 packets (`net.unix.max_dgram_qlen` and one). A full queue
 *   delays only the packets to that receiver. Large packets that were not received yet fill the
 *   send buffer, which delays all others, too.
 * - **No end**: a receiver does not notice that a sender has exited.
 * - **Trust**: `from` is what the sender has bound. Any process that may write to the socket file
 *   can send: see `mode`.
 *
 * @category Packets
 */
export interface DatagramSocket extends AsyncIterable<Datagram>, AsyncDisposable {
  /** The address of the socket. */
  readonly addr: UnixAddr;
  /** The maximum number of bytes of a packet, sent or received. */
  readonly maxPacketBytes: number;
  /**
   * Sends one packet, after those that were sent to the same path before.
   *
   * - The first packet to a path needs the permissions that `connectPackets()` needs for it. They
   *   are not asked for again until the socket closes.
   * - An abort of the signal rejects at once with its reason. Then the packet was not sent. If the
   *   promise has resolved, it was.
   * - A rejection that is not awaited does not end the process.
   *
   * @param packet The bytes. Do not change them before the promise settles.
   * @param to The path or the abstract name of the receiver.
   * @param options A signal.
   * @throws {SocketNotFound} when the file does not exist.
   * @throws {NothingListening} when no socket has the path any more.
   * @throws {NotASocket} when it is not a datagram socket.
   * @throws {ConnectDenied} when the file system does not allow it.
   * @throws {Deno.errors.PermissionDenied} when the receiver is connected to another socket.
   * @throws {MessageTooLarge} when the packet has more than `maxPacketBytes`.
   * @throws {ConnectionClosed} when `close()` was called before or meanwhile.
   * @throws {TypeError} when an argument is of the wrong kind.
   * @throws {Deno.errors.NotCapable} when a Deno permission for the receiver is missing.
   */
  send(packet: Uint8Array, to: SocketPath, options?: PacketWaitOptions): Promise<void>;
  /**
   * Receives one packet, waiting for it.
   *
   * - An abort of the signal rejects at once with its reason, and loses no packet: what comes later
   *   is for the next call.
   *
   * @param options A signal.
   * @returns The packet and its sender.
   * @throws {MessageTooLarge} when a packet is larger than the limit. It is dropped, and the next
   * call returns the next packet.
   * @throws {ConnectionClosed} when `close()` was called before or meanwhile.
   * @throws {TypeError} when an option does not exist.
   */
  receive(options?: PacketWaitOptions): Promise<Datagram>;
  /**
   * Receives packets until the socket closes. Breaking out of a loop does not close it.
   *
   * @returns The packets and their senders.
   */
  [Symbol.asyncIterator](): AsyncIterableIterator<Datagram>;
  /**
   * Closes the socket at once: pending receives and queued sends reject with `ConnectionClosed`.
   * Removes the socket file, if it is still the one that was bound, and then the lock. Idempotent;
   * so is disposal.
   *
   * `await using` waits for queued sends first, for 5 seconds at most.
   *
   * @throws {SocketError} when a file cannot be removed; the socket closes all the same.
   */
  close(): Promise<void>;
  /** Makes a pending call keep the process alive, which is the default. */
  ref(): void;
  /** Allows the process to exit while a call is pending. */
  unref(): void;
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
