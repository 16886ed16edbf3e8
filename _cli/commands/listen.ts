/** `uds listen PATH`: standard input and output on the connection of a client. */

import { resolveSocketPath, type SocketPath } from "../../address.ts";
import { ConnectionClosed } from "../../errors.ts";
import { listen } from "../../listener.ts";
import { QuietEnd } from "../exit_codes.ts";
import { givenDescriptor, orManagers, tellReady, tellStopping } from "../io/activation.ts";
import { checkFraming, stdinItems, wireOf } from "../io/framing.ts";
import { pipeStdio } from "../io/pipe_stdio.ts";
import { reporter } from "../io/reporter.ts";
import { stopSignal } from "../io/signals.ts";
import { waitLimit } from "../io/silence_limit.ts";
import type { ActivationFlags } from "../parse/activation.ts";
import type { CommonFlags } from "../parse/command.ts";
import type { ExchangingFlags, TypeFlags } from "../parse/options.ts";

/** Its options. */
export type ListenFlags = CommonFlags & ExchangingFlags & TypeFlags & ActivationFlags & {
  readonly keep?: boolean;
  readonly mode?: number;
  readonly timeout?: number;
};

/** How long, in milliseconds, a client may take to end after the first signal. */
const STOP_MS = 500;

/** The command. */
export async function run(flags: ListenFlags, path: SocketPath): Promise<void> {
  const { type = "stream" } = flags;
  if (type !== "stream") {
    const { listenDatagrams, listenSeqpacket } = await import("../packets/listen.ts");
    return await (type === "dgram" ? listenDatagrams : listenSeqpacket)(flags, path);
  }
  checkFraming(flags);
  const fd = await givenDescriptor(path, flags);
  const isGiven = fd !== undefined;
  const signal = stopSignal();
  const opening = listen({ ...isGiven ? { fd } : { path, mode: flags.mode }, signal });
  await using listener = await orManagers(opening, flags);
  reporter.listening(resolveSocketPath(path));
  let stopping: Promise<void> | undefined;
  signal.addEventListener("abort", () => {
    reporter.ending();
    stopping = tellStopping(isGiven);
  });
  await tellReady(isGiven);
  const input = stdinItems(flags);
  const { expect } = flags;
  const timeout = flags.timeout || undefined;
  using limit = waitLimit(path, timeout);
  // The disposal at the end rejects with the same failure.
  limit.signal.addEventListener("abort", () => void listener.close().catch(() => {}));
  for await (const conn of listener) {
    limit.pause();
    // One client only: refuse the others at once.
    if (!flags.keep) await listener.close();
    try {
      const options = { signal, graceMs: STOP_MS, expect, timeout };
      await pipeStdio(wireOf(conn, flags), input, options);
    } catch (error) {
      // After the signal, this side closed the connection.
      if (!(error instanceof ConnectionClosed)) {
        if (!flags.keep || error instanceof QuietEnd) throw error;
        // A failure of one client does not end the server.
        reporter.report(error);
      }
    }
    if (flags.keep) limit.restart();
  }
  await stopping;
  limit.signal.throwIfAborted();
}
