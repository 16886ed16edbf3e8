/**
 * The child's side of a connection to its parent: {@linkcode inherited} alone. A child that imports
 * only this starts sooner than with all of `@uds/uds`.
 *
 * @module
 */

import type { Connection } from "./connection.ts";
import type { PacketSocket, PacketType } from "./native/packet_socket.ts";
import { checked } from "./_internal/base/caller_stack.ts";
import {
  checkArguments,
  checkBoolean,
  checkOptions,
  type Checks,
  integer,
  MAX_PACKET_BYTES,
  oneOf,
  show,
} from "./_internal/base/check.ts";
import { ErrorContext } from "./_internal/base/error_context.ts";
import { requireRuntime } from "./_internal/base/runtime.ts";
import { CHILD_FD, takeOnce, takeOver } from "./_internal/descriptor/inherited_fd.ts";
import { lowLatencyFor, native } from "./_internal/connection/native_slot.ts";
import { unnamedConnection } from "./_internal/child/unnamed_connection.ts";

export type { Connection, ReadOptions } from "./connection.ts";

const INHERITED_CHECKS: Checks<InheritedOptions & Omit<PacketInheritedOptions, "type">> = {
  fd: integer(0, 0x7fff_ffff),
  descriptors: checkBoolean,
  type: oneOf("stream", "seqpacket", "dgram"),
  lowLatency: checkBoolean,
  maxPacketBytes: integer(1, MAX_PACKET_BYTES),
};

/**
 * Options of {@linkcode inherited}.
 *
 * @category Children
 */
export interface InheritedOptions {
  /**
   * The descriptor that was agreed on with the parent.
   *
   * @default {3}
   */
  fd?: number | undefined;
  /**
   * The type of the socket. For packets see {@linkcode PacketInheritedOptions}.
   *
   * @default {"stream"}
   */
  type?: "stream" | undefined;
  /**
   * Whether descriptors can be sent and received, by `sendDescriptors()` and
   * `receiveDescriptors()` of `@uds/uds/native`. The program must import that module, and needs
   * `--allow-ffi`.
   *
   * @default {false}
   */
  descriptors?: boolean | undefined;
  /**
   * Whether a read looks for bytes for some microseconds before it waits: see `lowLatency()` of
   * `@uds/uds/native`, for when this pays. The program must import that module, and needs
   * `--allow-ffi`. If its descriptor cannot be found, the connection stays as it is.
   *
   * @default {false}
   */
  lowLatency?: boolean | undefined;
}

/**
 * Options of {@linkcode inherited} for a socket of packets.
 *
 * Besides the properties below, it has:
 *
 * - {@linkcode InheritedOptions.fd | fd}: The descriptor that was agreed on with the parent.
 *
 * @category Packets
 */
export interface PacketInheritedOptions
  extends Omit<InheritedOptions, "type" | "descriptors" | "lowLatency"> {
  /** The type of the socket, which needs `import "@uds/uds/native"`. */
  type: PacketType;
  /**
   * The maximum number of bytes of a packet, as in {@linkcode PacketPairOptions}.
   *
   * @default {what the buffer holds: 212,960 on Linux}
   */
  maxPacketBytes?: number | undefined;
}

/**
 * Takes over the socket that the parent process left at a descriptor: the other end of {@linkcode
 * pair}, or of any parent that starts this program with a connected Unix domain socket.
 *
 * - It works once for each descriptor, and only in the main thread. Closing the connection closes
 *   the descriptor.
 * - Pass only a number that the parent has agreed on. Other descriptors are Deno's own, and taking
 *   one of those over breaks Deno.
 * - Programs that this process starts inherit the descriptor.
 *
 * **Permissions**: none.
 *
 * @param options The descriptor, if it is not 3.
 * @returns The connection. Neither end has a name.
 * @throws {TypeError} when an argument is of the wrong kind.
 * @throws {RangeError} when the descriptor is not a whole number of at least 0.
 * @throws {NotASocket} when the descriptor is not open, or is not a Unix stream socket. A listening
 * socket or a fifo is refused by the first read or write.
 * @throws {Deno.errors.Busy} when it was taken over before.
 * @throws {Deno.errors.NotSupported} in a worker, which cannot find out whether the main thread has
 * it.
 *
 * @example The child of a pair
 * ```ts ignore
 * import { inherited } from "@uds/uds/child";
 *
 * await using conn = inherited();
 * await conn.readable.pipeTo(conn.writable);
 * ```
 *
 * @category Children
 */
export function inherited(options?: InheritedOptions): Connection;
/**
 * Takes over the packet socket that the parent process left at a descriptor: the other end of
 * {@linkcode pair} with a `type`, or of any parent that starts this program with such a socket.
 *
 * **Permissions**: none. With `--allow-ffi=/lib/x86_64-linux-gnu/libc.so.6`, or where libc is on
 * this system, the socket can do more. Without it:
 *
 * - An empty packet of a `"seqpacket"` socket is received when another packet has come after it.
 *   Directly before the end it is not received. 1,000 of them in a row count as the end.
 * - The type is not compared with that of the descriptor. By default a packet has at most 212,960
 *   bytes. Of a larger one that comes, the `size` in the error is one more than the limit.
 * - A packet may be sent although its signal has aborted.
 *
 * @param options The type, and the descriptor, if it is not 3.
 * @returns The packet socket. Neither end has a name.
 * @throws {NotASocket} when the descriptor is not open, or is not a connected socket of the type.
 * @throws {Deno.errors.NotSupported} unless the program has `import "@uds/uds/native"`.
 *
 * @example The child of a pair
 * ```ts ignore
 * import { inherited } from "@uds/uds/child";
 * import "@uds/uds/native";
 *
 * await using socket = inherited({ type: "seqpacket" });
 * for await (const packet of socket) await socket.send(packet);
 * ```
 *
 * @category Children
 */
export function inherited(options: PacketInheritedOptions): PacketSocket;
export function inherited(
  options: InheritedOptions | PacketInheritedOptions = {},
): Connection | PacketSocket {
  return checked(inherited, () => {
    checkArguments("inherited", arguments, 1, "inherited({ fd })");
    checkOptions<InheritedOptions | PacketInheritedOptions>(
      "inherited",
      options,
      INHERITED_CHECKS,
    );
    requireRuntime();
    const { fd = CHILD_FD } = options;
    const context = new ErrorContext("inherited", null, `Cannot take over descriptor ${fd}`);
    const { type = "stream", maxPacketBytes } = options as Partial<PacketInheritedOptions>;
    if (type !== "stream") {
      if ((options as InheritedOptions).lowLatency) {
        throw new TypeError(`Invalid lowLatency: it is for streams, and the type is ${show(type)}`);
      }
      const open = native(context, "type").inheritedPackets;
      return takeOnce(context, fd, () => open(context, fd, type, maxPacketBytes));
    }
    const parent = Deno.ppid;
    const lowLatency = lowLatencyFor(context, options as InheritedOptions);
    const transport = takeOver(context, fd, options as InheritedOptions);
    const conn = unnamedConnection(transport, { hasPeerExited: () => Deno.ppid !== parent });
    lowLatency(conn);
    return conn;
  });
}
