/** Connections of the commands that exchange a stream of bytes. */

import type { SocketPath } from "../../address.ts";
import { connect, type ConnectOptions } from "../../client.ts";
import type { Connection } from "../../connection.ts";
import { isOtherType } from "../exit_codes.ts";

/** The remedy in a command that has the option. */
export const ADD_TYPE = "Add --type seqpacket or --type dgram";

const OTHER_COMMANDS = "This command needs a stream socket. For packets, use uds connect --type " +
  "or uds send --type";

/**
 * Connects to a stream socket.
 *
 * @param remedy What to do about a socket of another type.
 */
export async function connectStream(
  options: SocketPath | ConnectOptions,
  remedy: string = OTHER_COMMANDS,
): Promise<Connection> {
  try {
    return await connect(options);
  } catch (error) {
    if (isOtherType(error)) {
      error.message = error.message.replace(/Use connectPackets.*/, remedy);
    }
    throw error;
  }
}
