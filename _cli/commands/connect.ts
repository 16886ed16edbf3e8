/** `uds connect PATH`: standard input and output on a connection. */

import { codeOf } from "../../_internal/base/failure.ts";
import type { SocketPath } from "../../address.ts";
import { connect, type ConnectOptions } from "../../client.ts";
import type { Connection } from "../../connection.ts";
import { NotASocket } from "../../errors.ts";
import { checkFraming, stdinItems, wireOf } from "../io/framing.ts";
import { pipeStdio } from "../io/pipe_stdio.ts";
import { keepIgnored } from "../io/signals.ts";
import type { CommonFlags } from "../parse/command.ts";
import type { ConnectingFlags, ExchangingFlags, TypeFlags } from "../parse/options.ts";

/** Its options. */
export type ConnectFlags = CommonFlags & ConnectingFlags & ExchangingFlags & TypeFlags;

/** The command. */
export async function run(flags: ConnectFlags, path: SocketPath): Promise<void> {
  keepIgnored();
  const { type = "stream" } = flags;
  if (type !== "stream") {
    const { connectStdio } = await import("../packets/connect.ts");
    return await connectStdio(flags, type, path);
  }
  checkFraming(flags);
  const conn = await connectStream(flags, path);
  await pipeStdio(wireOf(conn, flags), stdinItems(flags), {
    expect: flags.expect,
    timeout: flags.timeout,
  });
}

/** Connects to a stream socket. At another type of socket, names the option. */
export async function connectStream(
  flags: ConnectingFlags,
  path: SocketPath,
): Promise<Connection> {
  try {
    return await connect(connectOptions(flags, path));
  } catch (error) {
    if (error instanceof NotASocket && codeOf(error.cause) === "EPROTOTYPE") {
      const option = "Add --type seqpacket or --type dgram";
      error.message = error.message.replace(/Use connectPackets.*/, option);
    }
    throw error;
  }
}

/** Returns the options for `connect()`. */
export function connectOptions(
  { timeout, wait }: ConnectingFlags,
  path: SocketPath,
): ConnectOptions {
  return { path, timeout, wait };
}
