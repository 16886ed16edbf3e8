/** `uds listen PATH`: standard input and output on the connection of a client. */

import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { ConnectionClosed } from "../../errors.ts";
import { listen } from "../../server.ts";
import { refuseActivation } from "../io/activation.ts";
import { OK, QuietEnd } from "../exit_codes.ts";
import { type FramingFlags, messageSource } from "../io/framing.ts";
import { checkPassFlags, passAs, type PassFlags } from "../io/pass_messages.ts";
import { shownPath } from "../parse/parameters.ts";
import { stopSignal } from "../io/signals.ts";
import { Input, type Source } from "../io/streams.ts";
import type { CommonFlags } from "../parse/command.ts";
import { Reporter } from "../io/reporter.ts";

/** Its options. */
export type ListenFlags = CommonFlags & FramingFlags & {
  readonly expect?: number;
  readonly keep?: boolean;
  readonly mode?: number;
  readonly timeout?: number;
};

/** How long a client has to end after we were told to stop: what is on its way should still arrive. */
const STOP_MS = 500;

/** The command. */
export async function run(flags: ListenFlags, path: SocketPath): Promise<number> {
  checkPassFlags("listen", flags);
  refuseActivation(path);
  using talk = new Reporter(flags);
  const signal = stopSignal();
  await using listener = await listen({
    path,
    signal,
    ...(flags.mode !== undefined && { mode: flags.mode }),
  });
  talk.listening(listener.addr.path);
  signal.addEventListener("abort", () => talk.ending());
  const input = messageSource(new Input(), flags);
  let isLate = false;
  const wait = () =>
    flags.timeout === undefined ? undefined : setTimeout(() => {
      isLate = true;
      // Why it could not is told at the end, which closes it as well.
      listener.close().catch(() => {});
    }, flags.timeout);
  let timer = wait();
  for await (const conn of listener) {
    clearTimeout(timer);
    // Nobody else need wait.
    if (!flags.keep) await listener.close();
    try {
      await passUntil(signal, conn, input, flags);
    } catch (error) {
      if (!flags.keep || error instanceof QuietEnd) throw error;
      // What one client does wrong is its own.
      talk.report(error);
    }
    if (flags.keep) timer = wait();
  }
  clearTimeout(timer);
  if (isLate) {
    throw new Deno.errors.TimedOut(
      `Cannot serve ${shownPath(path)}: no client within ${flags.timeout! / 1000} s`,
    );
  }
  return OK;
}

/** Passes until both directions have ended, or the time is over that is left after the signal. */
async function passUntil(
  signal: AbortSignal,
  conn: Connection,
  input: Source,
  flags: PassFlags,
): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const limit = () => timer = setTimeout(() => conn.close(), STOP_MS);
  if (signal.aborted) limit();
  signal.addEventListener("abort", limit);
  try {
    await passAs(conn, input, flags, signal);
  } catch (error) {
    // Cut off by us.
    if (!(error instanceof ConnectionClosed)) throw error;
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", limit);
  }
}
