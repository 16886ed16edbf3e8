/** `uds echo PATH`: an echo server. */

import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { serve } from "../../server.ts";
import { refuseActivation } from "../io/activation.ts";
import { OK } from "../exit_codes.ts";
import { stopSignal } from "../io/signals.ts";
import { BUFFER_SIZE } from "../io/streams.ts";
import type { CommonFlags } from "../parse/command.ts";
import { Reporter } from "../io/reporter.ts";

/** Its options. */
export type EchoFlags = CommonFlags & {
  readonly mode?: number;
  readonly piece?: number;
};

/** The command. */
export async function run(flags: EchoFlags, path: SocketPath): Promise<number> {
  refuseActivation(path);
  using reporter = new Reporter(flags);
  const signal = stopSignal();
  await using server = await serve({
    path,
    signal,
    ...(flags.mode !== undefined && { mode: flags.mode }),
    onListen: (addr) => reporter.listening(addr.path),
    onError: (error) => reporter.report(error),
  }, (conn) => sendBack(conn, reporter, flags.piece));
  signal.addEventListener("abort", () => reporter.ending());
  await server.finished;
  return OK;
}

/** Sends back what comes. With `piece` it reads at most that many bytes, and reports each read. */
async function sendBack(
  conn: Connection,
  reporter: Reporter,
  piece: number | undefined,
): Promise<void> {
  const buffer = new Uint8Array(piece ?? BUFFER_SIZE);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) return;
    const data = buffer.subarray(0, count);
    if (piece !== undefined) {
      const text = new TextDecoder().decode(data);
      reporter.say(`received ${JSON.stringify(text)}, sending it back`, {
        event: "received",
        text,
      });
    }
    await conn.write(data);
  }
}
