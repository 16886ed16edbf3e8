/**
 * The place where `@uds/uds/native` plugs into the core. The core never imports it, and works
 * without it.
 */

import type { ErrorContext } from "../base/error_context.ts";
import type { Transport } from "./socket_connection.ts";

/** The options of a connection that need the native module. */
export interface NativeOptions {
  /** Whether descriptors that the peer sends are kept for the reader. */
  descriptors?: boolean | undefined;
  /** Whether a read looks for bytes for some microseconds before it waits. */
  lowLatency?: boolean | undefined;
}

/** What the native module does for the core. */
export interface NativeSockets {
  /** Connects, and notes the descriptor. */
  connect(path: string): Promise<Deno.UnixConn>;
  /**
   * Notes the descriptor of a connection that Deno accepted just now: nothing may be awaited in
   * between. Does nothing if it is another kind of connection. Never throws.
   */
  accepted(conn: unknown): void;
  /** Returns a transport over the noted descriptor of a connection. */
  transport(
    context: ErrorContext<string | null>,
    conn: Deno.UnixConn,
    options: NativeOptions,
  ): Transport;
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

/** Notes the descriptor of a connection that Deno accepted just now, if the module is there. */
export function noteAccepted(conn: unknown): void {
  plugged?.accepted(conn);
}

/**
 * Returns the transport for a connection of Deno's: itself, unless an option needs another one.
 *
 * @param context Makes the error if the native module is not there.
 */
export function transportFor(
  context: ErrorContext<string | null>,
  conn: Deno.UnixConn,
  options: NativeOptions,
): Transport {
  const wanted = (["descriptors", "lowLatency"] as const).find((name) => options[name]);
  if (wanted === undefined) return conn;
  if (plugged !== undefined) return plugged.transport(context, conn, options);
  const state = `the option ${wanted} needs system calls that Deno does not have. ` +
    `Add import "@uds/uds/native" to the program`;
  throw context.error(Deno.errors.NotSupported, state);
}
