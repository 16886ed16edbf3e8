/** `uds connect PATH`: standard input and output on a connection. */

import type { SocketPath } from "../../address.ts";
import { connect, type ConnectOptions } from "../../client.ts";
import { OK } from "../exit_codes.ts";
import { type FramingFlags, messageSource } from "../io/framing.ts";
import { checkPassFlags, passAs } from "../io/pass_messages.ts";
import { keepIgnored } from "../io/signals.ts";
import { Input } from "../io/streams.ts";
import type { CommonFlags } from "../parse/command.ts";

/** Its options. */
export type ConnectFlags = CommonFlags & ConnectingFlags & FramingFlags & {
  readonly expect?: number;
};

/** Those that say how to connect. */
export type ConnectingFlags = {
  readonly timeout?: number;
  readonly wait?: boolean;
};

/** The command. */
export async function run(flags: ConnectFlags, path: SocketPath): Promise<number> {
  checkPassFlags("connect", flags);
  keepIgnored();
  const conn = await connect(connectOptions(flags, path));
  await passAs(conn, messageSource(new Input(), flags), flags);
  return OK;
}

/** What the options say of how to connect. */
export function connectOptions(
  { timeout, wait }: ConnectingFlags,
  path: SocketPath,
): ConnectOptions {
  return {
    path,
    ...(timeout !== undefined && { timeout }),
    ...(wait !== undefined && { wait }),
  };
}
