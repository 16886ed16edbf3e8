/** `uds echo PATH`: an echo server. */

import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { serve } from "../../server.ts";
import { refuseActivation } from "../io/activation.ts";
import { OK } from "../exit_codes.ts";
import { stopSignal } from "../io/signals.ts";
import { BUFFER_SIZE } from "../io/streams.ts";
import { type CommonFlags, Talk } from "../io/reporter.ts";

/** Its options. */
export type EchoFlags = CommonFlags & {
  readonly mode?: number;
  readonly piece?: number;
};

/** The command. */
export async function echo(flags: EchoFlags, path: SocketPath): Promise<number> {
  refuseActivation(path);
  using talk = new Talk(flags);
  const signal = stopSignal();
  await using server = await serve({
    path,
    signal,
    ...(flags.mode !== undefined && { mode: flags.mode }),
    onListen: (addr) => talk.listening(addr.path),
    onError: (error) => talk.report(error),
  }, (conn) => sendBack(conn, talk, flags.piece));
  signal.addEventListener("abort", () => talk.ending());
  await server.finished;
  return OK;
}

/** Sends back what comes; with `piece` as many bytes at a time, and tells each. */
async function sendBack(conn: Connection, talk: Talk, piece: number | undefined): Promise<void> {
  const buffer = new Uint8Array(piece ?? BUFFER_SIZE);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) return;
    const data = buffer.subarray(0, count);
    if (piece !== undefined) {
      const text = new TextDecoder().decode(data);
      talk.say(`received ${JSON.stringify(text)}, sending it back`, { event: "received", text });
    }
    await conn.write(data);
  }
}
