/** Pairs of sockets of every type. */

import type { Connection } from "../connection.ts";
import type { PacketSocket, PacketType } from "./packet_socket.ts";
import { checked } from "../_internal/base/caller_stack.ts";
import {
  type Check,
  checkArguments,
  checkInteger,
  checkOptions,
  type Checks,
  integer,
  MAX_PACKET_BYTES,
  oneOf,
  show,
} from "../_internal/base/check.ts";
import { ErrorContext } from "../_internal/base/error_context.ts";
import { requireRuntime } from "../_internal/base/runtime.ts";
import { AF_INET, AF_INET6, AF_UNIX, SOCK_RAW, SOCK_RDM } from "../_internal/libc/constants.ts";
import { requireLibc } from "../_internal/libc/library.ts";
import {
  openPair,
  streamAt,
  typeOf,
  TYPES,
  unnamedPackets,
} from "../_internal/native/packet_pair.ts";

/**
 * Options of {@linkcode socketpair}: those of the system call.
 *
 * @category Packets
 */
export interface SocketPairOptions<Type = "stream" | PacketType | "raw" | "rdm" | number> {
  /**
   * The address family, or its number on this system. Systems have pairs of Unix domain sockets
   * only, and refuse other families.
   *
   * @default {"unix"}
   */
  family?: "unix" | "inet" | "inet6" | number | undefined;
  /**
   * The type of the sockets, or its number on this system.
   *
   * - `"stream"`: bytes in order, without boundaries.
   * - `"seqpacket"`: whole packets in order, and an end.
   * - `"dgram"`: whole packets in order, without an end.
   * - `"raw"`: Linux makes it `"dgram"`.
   * - `"rdm"`: refused by Linux.
   *
   * @default {"stream"}
   */
  type?: Type | undefined;
  /**
   * The protocol. Unix domain sockets have one, which is 0.
   *
   * @default {0}
   */
  protocol?: number | undefined;
  /**
   * The maximum number of bytes of a packet, sent or received. A larger one than the kernel's
   * buffers hold makes them larger, as far as the system allows. For packets only.
   *
   * @default {what the buffers hold: 212,960 on Linux}
   */
  maxPacketBytes?: number | undefined;
}

const FAMILIES = { unix: AF_UNIX, inet: AF_INET, inet6: AF_INET6 };
const ALL_TYPES = { ...TYPES, raw: SOCK_RAW, rdm: SOCK_RDM };

const CHECKS: Checks<SocketPairOptions> = {
  family: nameOrNumber(FAMILIES),
  type: nameOrNumber(ALL_TYPES),
  protocol: integer(0, 0x7fff_ffff),
  maxPacketBytes: integer(1, MAX_PACKET_BYTES),
};

/** Returns a check that accepts the names of numbers, and numbers. */
function nameOrNumber(names: Record<string, number>): Check {
  const checkName = oneOf(...Object.keys(names));
  return (name, value) => {
    if (typeof value !== "number") return checkName(name, value);
    checkInteger(name, value, 0, 0x7fff_ffff);
  };
}

/**
 * Opens two sockets that are each other's peer, both in this process: socketpair(2), with its
 * choice of family, type and protocol.
 *
 * - **It returns at once.** Code that awaits the `socketpair()` of `@uds/uds` works with this one.
 * - **Neither end has a name**, so no other process can connect. Programs that this process starts
 *   do not inherit them: `pair()` with a `type` starts a child that has one end.
 * - **What the system refuses** has the system's code: another family `EOPNOTSUPP` or
 *   `EAFNOSUPPORT`, another protocol `EPROTONOSUPPORT`, another type `ESOCKTNOSUPPORT`. Linux takes
 *   protocol 1 (`PF_UNIX`) as 0.
 *
 * **Permissions**: `--allow-ffi` for libc: see {@linkcode nativePermissions}.
 *
 * @param options Family, type and protocol.
 * @returns The two ends: of a stream two connections, otherwise two packet sockets.
 * @throws {TypeError} when an option is of the wrong kind, or does not exist.
 * @throws {RangeError} when a number is out of range.
 * @throws {Deno.errors.NotSupported} when the system does not have such a pair, or libc cannot be
 * used.
 * @throws {Deno.errors.NotCapable} when the permission is missing.
 *
 * @example Packets
 * ```ts
 * import { socketpair } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = socketpair({ type: "seqpacket" });
 * await a.send(new TextEncoder().encode("one"));
 * await a.send(new TextEncoder().encode("two"));
 * a.close();
 * const received = [];
 * for await (const packet of b) received.push(new TextDecoder().decode(packet));
 * assertEquals(received, ["one", "two"]);
 * b.close();
 * ```
 *
 * @example Bytes
 * ```ts
 * import { socketpair } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = socketpair();
 * await a.writeText("ping");
 * a.close();
 * assertEquals(await new Response(b.readable).text(), "ping");
 * b.close();
 * ```
 *
 * @category Packets
 */
export function socketpair(options?: SocketPairOptions<"stream">): [Connection, Connection];
/**
 * Opens two packet sockets that are each other's peer, both in this process.
 *
 * @param options Family, type and protocol.
 * @returns The two ends.
 *
 * @example Datagrams
 * ```ts
 * import { socketpair } from "@uds/uds/native";
 * import { assertEquals } from "@std/assert";
 *
 * const [a, b] = socketpair({ type: "dgram" });
 * await a.send(Uint8Array.of(1, 2));
 * assertEquals(await b.receive(), Uint8Array.of(1, 2));
 * a.close();
 * b.close();
 * ```
 *
 * @category Packets
 */
export function socketpair(
  options: SocketPairOptions<PacketType> & { type: PacketType },
): [PacketSocket, PacketSocket];
/**
 * Opens two sockets of a type that is known when the program runs.
 *
 * @param options Family, type and protocol.
 * @returns The two ends.
 *
 * @example A type of the command line
 * ```ts
 * import { socketpair } from "@uds/uds/native";
 *
 * const type = Deno.args.includes("--packets") ? "seqpacket" : "stream";
 * for (const end of socketpair({ type })) end.close();
 * ```
 *
 * @category Packets
 */
export function socketpair(
  options: SocketPairOptions,
): [Connection, Connection] | [PacketSocket, PacketSocket];
export function socketpair(
  options: SocketPairOptions = {},
): [Connection, Connection] | [PacketSocket, PacketSocket] {
  return checked(socketpair, () => {
    checkArguments("socketpair", arguments, 1, "socketpair({ type })");
    checkOptions("socketpair", options, CHECKS);
    requireRuntime();
    const { family = "unix", type = "stream", protocol = 0, maxPacketBytes } = options;
    const context = new ErrorContext("socketpair", null, "Cannot make a socket pair");
    const libc = requireLibc(context);
    const [a, b] = openPair(
      context,
      libc,
      typeof family === "string" ? FAMILIES[family] : family,
      typeof type === "string" ? ALL_TYPES[type] : type,
      protocol,
    );
    const found = typeOf(libc, a);
    if (found === "stream") return [streamAt(a), streamAt(b)];
    if (found !== undefined) {
      const open = (fd: number) => unnamedPackets(libc, fd, found, maxPacketBytes);
      return [open(a), open(b)];
    }
    libc.close(a);
    libc.close(b);
    const state = `there is no class for sockets of family ${show(family)} and type ${show(type)}`;
    throw context.error(Deno.errors.NotSupported, state);
  });
}
