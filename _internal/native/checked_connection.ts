/** The check of a connection that a public function of the native module gets. */

import { ConnectionClosed } from "../../errors.ts";
import type { Connection } from "../../connection.ts";
import { show } from "../base/check.ts";
import { ErrorContext } from "../base/error_context.ts";
import { pathOf, shownPeer } from "../connection/connection_error.ts";
import { isOpen, type Transport, transportOf } from "../connection/socket_connection.ts";
import { type Libc, requireLibc } from "../libc/library.ts";
import { descriptorOf, descriptorsOf, recordOpen } from "./connection_descriptors.ts";

/** A connection that was checked. */
export interface Checked {
  /** Makes the errors. */
  readonly context: ErrorContext<string | null>;
  readonly libc: Libc;
  readonly transport: Transport;
}

/**
 * Returns what is needed to call libc for a connection. Throws unless it is an open one of this
 * package, and libc may be used.
 *
 * @param operation The name of the public function.
 * @param verb What it does to the peer, for the message of an error.
 */
export function checkConnection(operation: string, verb: string, conn: Connection): Checked {
  const transport = transportOf(conn);
  if (transport === undefined) {
    throw new TypeError(`Invalid connection: expected a Connection, got ${show(conn)}`);
  }
  const context = new ErrorContext(operation, pathOf(conn), `Cannot ${verb} ${shownPeer(conn)}`);
  const libc = requireLibc(context);
  if (!isOpen(conn)) throw context.error(ConnectionClosed, "the connection has closed");
  recordOpen(transport);
  return { context, libc, transport };
}

/** Returns the descriptor of a connection. Throws `NotSupported` unless it is proven. */
export function requireDescriptor({ context, transport }: Checked): number {
  const fd = descriptorOf(transport);
  if (fd === undefined) throw unknownDescriptor(context, descriptorsOf(transport).length);
  return fd;
}

/** Returns the error for a connection that may have any of several descriptors, or none. */
export function unknownDescriptor(
  context: ErrorContext<string | null>,
  candidates: number,
): Deno.errors.NotSupported {
  const state = candidates === 0
    ? "its descriptor cannot be found: it is not a socket, but for example the pipes of a child"
    : `${candidates} sockets may be its own, because they were opened at the same moment or ` +
      `before libc could be used. Import "@uds/uds/native" first, and connect again`;
  return context.error(Deno.errors.NotSupported, state);
}
