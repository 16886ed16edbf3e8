/** `uds echo PATH`: an echo server. */

import type { SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { describe, shownMessage } from "../io/framing.ts";
import { reporter } from "../io/reporter.ts";
import { servePath } from "../io/serve_path.ts";
import { stopSignal } from "../io/signals.ts";
import { BUFFER_SIZE } from "../io/stdin.ts";
import type { ActivationFlags } from "../parse/activation.ts";
import type { CommonFlags } from "../parse/command.ts";
import type { TypeFlags, VerboseFlags } from "../parse/options.ts";

/** Its options. */
export type EchoFlags = CommonFlags & TypeFlags & ActivationFlags & VerboseFlags & {
  readonly mode?: number;
  readonly piece?: number;
};

/** The command. */
export async function run(flags: EchoFlags, path: SocketPath): Promise<void> {
  const { piece, type = "stream" } = flags;
  if (type !== "stream") {
    const { echoDatagrams, echoSeqpacket } = await import("../packets/listen.ts");
    return await (type === "dgram" ? echoDatagrams : echoSeqpacket)(flags, path);
  }
  const signal = stopSignal();
  const onRead = (data: Uint8Array) => {
    const line = `received ${shownMessage(data)}, sending it back`;
    reporter.say(line, { event: "received", ...describe(data, {}) });
  };
  await servePath(
    path,
    { flags, signal },
    (conn) => piece === undefined ? sendBack(conn) : sendBack(conn, piece, onRead),
  );
}

/**
 * Sends back what comes.
 *
 * @param size How many bytes to read at most at a time.
 * @param onRead Called with what each read returned.
 */
export async function sendBack(
  conn: Connection,
  size: number = BUFFER_SIZE,
  onRead?: (data: Uint8Array) => void,
): Promise<void> {
  const buffer = new Uint8Array(size);
  for (let count; (count = await conn.read(buffer)) !== null;) {
    const data = buffer.subarray(0, count);
    onRead?.(data);
    await conn.write(data);
  }
}
