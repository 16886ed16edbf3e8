/** What is said of a byte channel in an error. */

import type { UnixAddr } from "../../address.ts";
import { ConnectionClosed } from "../../errors.ts";
import type { ByteChannel } from "../../framing/messages.ts";
import { show } from "../base/check.ts";
import { quoteAddress } from "../base/shown_address.ts";

/** The path that tells the channel from others, as far as it is known. */
export function pathOf(conn: ByteChannel): string | null {
  const { remoteAddr, localAddr } = conn as { remoteAddr?: UnixAddr; localAddr?: UnixAddr };
  return remoteAddr?.path ?? localAddr?.path ?? null;
}

/** The beginning of a message: `Cannot send to "/run/app.sock"`. */
export function startOf(verb: string, conn: ByteChannel): string {
  const path = pathOf(conn);
  return `Cannot ${verb} ${path === null ? "the peer" : quoteAddress(path)}`;
}

/** For what is tried after the end of this side. */
export function closedError(
  conn: ByteChannel,
  operation: "send" | "receive",
  by: string,
  unsent?: Uint8Array,
): ConnectionClosed {
  const start = startOf(operation === "send" ? "send to" : "receive from", conn);
  const rest = unsent === undefined ? "" : `, and ${unsent.length} bytes were not sent`;
  return new ConnectionClosed(`${start}: ${by} was called on this side${rest}`, {
    operation,
    path: pathOf(conn),
    unsent,
  });
}

/** Refuses a count of bytes that a channel cannot have meant: it would be asked for ever. */
export function checkProgress(call: string, count: unknown, most: number): void {
  if (!Number.isInteger(count) || (count as number) < 1 || (count as number) > most) {
    throw new TypeError(`Invalid connection: ${call} gave ${show(count)} for ${most} bytes`);
  }
}
