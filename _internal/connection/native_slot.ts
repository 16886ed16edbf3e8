/**
 * The place where `@uds/uds/native` plugs into the core. The core never imports it, and works
 * without it.
 */

import type { PacketSocket, PacketType } from "../../native/packet_socket.ts";
import type { UnixAddr } from "../../address.ts";
import type { ErrorContext } from "../base/error_context.ts";
import type { SocketConnection, Transport } from "./socket_connection.ts";

/** The options of a connection that need the native module. */
export interface NativeOptions {
  /** Whether descriptors that the peer sends are kept for the reader. */
  descriptors?: boolean | undefined;
  /** Whether a read looks for bytes for some microseconds before it waits. */
  lowLatency?: boolean | undefined;
  /** How many clients may wait to be accepted. */
  backlog?: number | undefined;
}

/** A pair of packet sockets, of which a child gets one end. */
export interface ChildPackets {
  readonly socket: PacketSocket;
  /** The descriptor of the child's end. */
  readonly fd: number;
  /** Closes that descriptor: the child has its own. */
  closeFd(): void;
}

/** A listener that behaves like Deno's. */
export interface TransportListener
  extends Disposable, Pick<Deno.UnixListener, "close" | "ref" | "unref"> {
  accept(): Promise<Transport & { readonly remoteAddr: UnixAddr }>;
}

/**
 * Opens the transports that send and receive descriptors. They own the descriptor they are over.
 */
export interface DescriptorSockets {
  /** Throws unless this process may make system calls. */
  require(context: ErrorContext<string | null>): void;
  /** Connects. The caller has checked the permissions. */
  connect(path: string): Transport;
  /** Listens with Deno's own API, and accepts by system calls. */
  listen(path: string, backlog: number | undefined): TransportListener;
  /** Listens at a descriptor that this process was given. */
  listenAt(context: ErrorContext<null>, fd: number): TransportListener;
  /** Opens a pair: the transport of one end, and the descriptor of the other, for a child. */
  pair(context: ErrorContext<null>): { transport: Transport; fd: number; closeFd(): void };
  /** Takes over a socket that the parent left at a descriptor. */
  takeOver(context: ErrorContext<null>, fd: number): Transport;
}

/** What the native module does for the core. */
export interface NativeSockets {
  /** Listens with Deno's own API, and sets the backlog. */
  listen(path: string, backlog: number): Deno.UnixListener;
  /** Connects, and records the descriptor. */
  connect(path: string): Promise<Deno.UnixConn>;
  /** Called before each `accept`. Returns what {@linkcode NativeSockets.accepted} needs. */
  beforeAccept(): number;
  /**
   * Records the descriptor of a connection that Deno accepted just now: nothing may be awaited in
   * between. Does nothing if it is another kind of connection. Never throws.
   */
  accepted(conn: unknown, since: number): void;
  /** Records the descriptor of a connection that the user passes. Never throws. */
  adopted(conn: unknown): void;
  /** Returns the permission to make system calls. */
  permissions(): Deno.PermissionOptionsObject;
  readonly descriptors: DescriptorSockets;
  /**
   * Returns what makes a connection look for bytes. It does nothing to one with an unknown
   * descriptor. Throws unless this process may make system calls.
   */
  lowLatency(context: ErrorContext<string | null>): (conn: SocketConnection) => void;
  /** Opens a pair of packet sockets for a child. */
  childPackets(
    context: ErrorContext<null>,
    type: PacketType,
    maxPacketBytes: number | undefined,
  ): ChildPackets;
  /** Takes over a packet socket that the parent left at a descriptor. */
  inheritedPackets(
    context: ErrorContext<null>,
    fd: number,
    type: PacketType,
    maxPacketBytes: number | undefined,
  ): PacketSocket;
}

let plugged: NativeSockets | undefined;

/** Called once, when a program imports the native module. */
export function plugIn(sockets: NativeSockets): void {
  plugged = sockets;
}

/** Connects with Deno's own API. */
export function connectNatively(path: string): Promise<Deno.UnixConn> {
  return plugged?.connect(path) ?? Deno.connect({ transport: "unix", path });
}

/** Called before each `accept`, for {@linkcode recordAccepted}. */
export function beforeAccept(): number {
  return plugged?.beforeAccept() ?? 0;
}

/** Records the descriptor of a connection that Deno accepted just now, if the module is there. */
export function recordAccepted(conn: unknown, since: number): void {
  plugged?.accepted(conn, since);
}

/** Records the descriptor of a connection that the user passes, if the module is there. */
export function recordAdopted(conn: unknown): void {
  plugged?.adopted(conn);
}

function asItIs(): void {}

/**
 * Returns what to do with each connection for the option `lowLatency`. Throws if it is set and
 * cannot be had.
 */
export function lowLatencyFor(
  context: ErrorContext<string | null>,
  { lowLatency, descriptors }: NativeOptions,
): (conn: SocketConnection) => void {
  if (!lowLatency) return asItIs;
  if (!descriptors) return native(context, "lowLatency").lowLatency(context);
  const state = "the options lowLatency and descriptors exclude each other, because a read that " +
    "takes descriptors makes its own system calls. Choose one of them";
  throw context.error(Deno.errors.NotSupported, state);
}

/** Returns the permissions that options need besides those of the core. */
export function nativeNeeds(
  { descriptors, lowLatency, backlog, type = "stream" }: NativeOptions & {
    type?: "stream" | PacketType | undefined;
  },
): Deno.PermissionOptionsObject {
  const isNative = descriptors || lowLatency || backlog !== undefined || type !== "stream";
  return isNative ? plugged?.permissions() ?? {} : {};
}

/**
 * Returns the native module.
 *
 * @param context Makes the error if it is not there.
 * @param option The option that needs it.
 */
export function native(context: ErrorContext<string | null>, option: string): NativeSockets {
  if (plugged !== undefined) return plugged;
  const state = `the option ${option} needs system calls that Deno does not have. ` +
    `Add import "@uds/uds/native" to the program`;
  throw context.error(Deno.errors.NotSupported, state);
}

/** Listens on a path. */
export type Listen = (path: string) => Deno.UnixListener;

/**
 * Returns how to listen by some options. Throws `NotSupported` without the native module, and
 * `NotCapable` if this process may not make system calls, unless none of them needs that.
 */
export function listening(context: ErrorContext<string | null>, options: NativeOptions): Listen {
  const descriptors = descriptorSockets(context, options);
  const { backlog } = options;
  if (backlog !== undefined) native(context, "backlog").descriptors.require(context);
  // A listener with descriptors has the methods that a server uses, and so have its connections.
  return (path) =>
    descriptors !== undefined
      ? descriptors.listen(path, backlog) as unknown as Deno.UnixListener
      : backlog !== undefined
      ? plugged!.listen(path, backlog)
      : Deno.listen({ transport: "unix", path });
}

/**
 * Returns what opens transports with descriptors, if the option is set. Throws `NotSupported`
 * without the native module, and `NotCapable` if this process may not make system calls.
 */
export function descriptorSockets(
  context: ErrorContext<string | null>,
  options: NativeOptions,
): DescriptorSockets | undefined {
  if (!options.descriptors) return undefined;
  const { descriptors } = native(context, "descriptors");
  descriptors.require(context);
  return descriptors;
}
