/** `uds connect PATH`: standard input and output on a connection. */

import type { SocketPath } from "../../address.ts";
import type { ConnectOptions } from "../../client.ts";
import { ADD_TYPE, connectStream } from "../io/connect_stream.ts";
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
  const conn = await connectStream(connectOptions(flags, path), ADD_TYPE);
  await pipeStdio(wireOf(conn, flags), stdinItems(flags), {
    expect: flags.expect,
    timeout: flags.timeout,
  });
}

/** Returns the options for `connect()`. */
export function connectOptions(
  { timeout, wait }: ConnectingFlags,
  path: SocketPath,
): ConnectOptions {
  return { path, timeout, wait };
}
