/** `uds listen PATH`: standard input and output on the connection of a client. */

import type { SocketPath } from "../address.ts";
import type { Connection } from "../connection.ts";
import { ConnectionClosed } from "../errors.ts";
import { listen as open } from "../server.ts";
import { OK } from "./exit_codes.ts";
import { pass } from "./pass.ts";
import { stopSignal } from "./signals.ts";
import { Input } from "./streams.ts";
import { type CommonFlags, QuietEnd, Talk } from "./talk.ts";

/** Its options. */
export type ListenFlags = CommonFlags & {
  readonly keep?: boolean;
  readonly mode?: number;
};

/** So long a client has to end, once this side has been asked to: for what is on its way. */
const STOP_MS = 500;

/** The command. */
export async function listen(flags: ListenFlags, path: SocketPath): Promise<number> {
  const talk = new Talk(flags);
  const signal = stopSignal();
  await using listener = await open({
    path,
    signal,
    ...(flags.mode !== undefined && { mode: flags.mode }),
  });
  talk.listening(listener.addr.path);
  signal.addEventListener("abort", () => talk.ending());
  const input = new Input();
  for await (const conn of listener) {
    // Nobody else need wait.
    if (!flags.keep) await listener.close();
    try {
      await passUntil(signal, conn, input);
    } catch (error) {
      if (!flags.keep || error instanceof QuietEnd) throw error;
      // What one client does wrong is its own.
      talk.fail(error);
    }
  }
  return OK;
}

/** Passes until both directions have ended, or the time is over that is left after the signal. */
async function passUntil(signal: AbortSignal, conn: Connection, input: Input): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = () => timer = setTimeout(() => conn.close(), STOP_MS);
  if (signal.aborted) limit();
  signal.addEventListener("abort", limit);
  try {
    await pass(conn, input, { signal });
  } catch (error) {
    // Cut off by us.
    if (!(error instanceof ConnectionClosed)) throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", limit);
  }
}
