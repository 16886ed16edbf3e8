/** Low latency for a connection: a transport that looks for bytes goes over its own. */

import type { ErrorContext } from "../base/error_context.ts";
import {
  replaceTransport,
  type SocketConnection,
  type Transport,
  transportOf,
} from "../connection/socket_connection.ts";
import { requireLibc } from "../libc/library.ts";
import { DescriptorTransport } from "./descriptor_transport.ts";
import { LookAhead } from "./look_ahead.ts";
import { descriptorOf } from "./connection_descriptors.ts";

/** How long to look, in microseconds: about what the wake-up of a processor costs. */
const DEFAULT_LOOK_US = 20;

/**
 * Makes a connection look for bytes. Reports whether it does: its descriptor may not be known.
 *
 * @param context Makes the error if system calls cannot be made.
 */
export function lookAhead(
  context: ErrorContext<string | null>,
  conn: SocketConnection,
  lookForUs: number = DEFAULT_LOOK_US,
): boolean {
  const libc = requireLibc(context);
  const transport = transportOf(conn) as Transport;
  if (transport instanceof LookAhead) {
    transport.lookFor(lookForUs);
    return transport.fd !== undefined;
  }
  if (transport instanceof DescriptorTransport) {
    const state = "it was opened with descriptors: true. Open it without";
    throw context.error(Deno.errors.NotSupported, state);
  }
  const fd = descriptorOf(transport);
  if (fd === undefined) return false;
  replaceTransport(conn, new LookAhead(transport, libc, fd, lookForUs));
  return true;
}
