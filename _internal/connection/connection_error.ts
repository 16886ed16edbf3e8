/**
 * The errors of a connection, which name the operation, the peer, and the bytes that were not sent.
 */

import type { UnixAddr } from "../../address.ts";
import { ConnectionClosed, type SocketError } from "../../errors.ts";
import { stateOf, systemError } from "../base/failure.ts";
import { quoteAddress } from "../base/shown_address.ts";

/** The addresses by which an error names a connection. */
interface Addresses {
  readonly localAddr: UnixAddr;
  readonly remoteAddr: UnixAddr;
}

export type Operation = "read" | "write" | "closeWrite";

const VERBS = { read: "read from", write: "write to", closeWrite: "half-close" };

/** What ended a connection on this side. */
const ENDS = {
  closeWrite: "closeWrite() was called on this side",
  over: "both directions have ended",
  closed: "close() was called on this side",
  returned: "its handler has returned without awaiting this",
};

/** What went wrong, for each error of a connection. Its message names the peer as well. */
const STATES = new WeakMap<object, string>();

/** Returns what went wrong, for a message that names the peer itself. */
export function stateAlone(error: unknown): string {
  return STATES.get(error as object) ?? stateOf(error);
}

/**
 * Returns an error of the cause's own class.
 *
 * @param before The failure that ended the connection, if it was an earlier one.
 */
export function connectionFailure(
  conn: Addresses,
  operation: Operation,
  cause: unknown,
  unsent?: Uint8Array,
  before?: SocketError,
): SocketError {
  const fields = { operation, path: pathOf(conn), ...(unsent && { unsent }) };
  const state = stateAlone(before ?? cause);
  const shown = before === undefined ? state : state + andUnsent(unsent);
  const error = systemError(startOf(conn, operation), before ?? cause, fields, shown);
  STATES.set(error, state);
  return error;
}

/** Returns the error of an operation on a connection that has closed. */
export function closedError(
  conn: Addresses,
  operation: Operation,
  end: keyof typeof ENDS,
  unsent?: Uint8Array,
): ConnectionClosed {
  const state = ENDS[end];
  const message = `${startOf(conn, operation)}: ${state}${andUnsent(unsent)}`;
  const error = new ConnectionClosed(message, { operation, path: pathOf(conn), unsent });
  STATES.set(error, state);
  return error;
}

/** Returns the end of a message about bytes that were not sent. */
export function andUnsent(unsent: Uint8Array | undefined): string {
  return unsent === undefined ? "" : `, and ${unsent.length} bytes were not sent`;
}

/** Returns the path of the peer, or of the server that the peer is connected to. */
export function pathOf({ localAddr, remoteAddr }: Addresses): string | null {
  return remoteAddr.path ?? localAddr.path;
}

/** Returns the beginning of a message: `Cannot read from "/run/app.sock"`. */
function startOf(conn: Addresses, operation: Operation): string {
  return `Cannot ${VERBS[operation]} ${shownPeer(conn)}`;
}

/** Returns the peer as a message names it: `a client of "/run/app.sock"`. */
export function shownPeer(conn: Addresses): string {
  const path = pathOf(conn);
  if (path === null) return "the unnamed peer";
  return `${conn.remoteAddr.path === null ? "a client of " : ""}${quoteAddress(path)}`;
}
