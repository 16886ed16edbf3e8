/** `uds send PATH [MESSAGE|-]`: one message, and the reply. */

import type { SocketPath } from "../../address.ts";
import { UsageError } from "../exit_codes.ts";
import { ADD_TYPE, connectStream } from "../io/connect_stream.ts";
import {
  checkFraming,
  describe,
  fromHex,
  shownMessage,
  stdinItems,
  wireOf,
} from "../io/framing.ts";
import { print } from "../io/output.ts";
import { bytesOf, pipeStdio } from "../io/pipe_stdio.ts";
import { reporter } from "../io/reporter.ts";
import { SilenceLimit } from "../io/silence_limit.ts";
import { Peekable } from "../io/stdin.ts";
import { namingStopped } from "../io/proc.ts";
import { shownPath } from "../parse/parameters.ts";
import { type ConnectFlags, connectOptions } from "./connect.ts";

/** Its options. */
export type SendFlags = ConnectFlags & {
  readonly piece?: number;
  readonly line?: boolean;
};

const LF = 10;

/** The command. */
export async function run(flags: SendFlags, path: SocketPath, message = "-"): Promise<void> {
  const { type = "stream" } = flags;
  checkLine(flags, message);
  if (type !== "stream") {
    const { sendPackets } = await import("../packets/connect.ts");
    return await sendPackets(flags, type, path, message);
  }
  checkFraming(flags);
  const isInput = message === "-";
  // A wrong message is refused before anything is connected.
  if (!isInput && flags.hex) fromHex(message);
  const source = isInput
    ? stdinItems(flags)
    : new Peekable([new TextEncoder().encode(flags.line ? `${message}\n` : message)].values());
  const conn = await connectStream(connectOptions(flags, path), ADD_TYPE);
  if (isInput && Deno.stdin.isTerminal()) {
    reporter.say("type the message, and Ctrl-D", { event: "reading" });
  }
  const { expect, timeout, piece } = flags;
  const start = `Got no answer from ${JSON.stringify(shownPath(path))} within`;
  using limit = new SilenceLimit(timeout || Infinity, start);
  const wire = piece === undefined ? wireOf(conn, flags) : bytesOf(conn, piece);
  let last: number | undefined;
  let isAnswered = false;
  const printing = {
    ...wire,
    print(data: Uint8Array): Promise<void> {
      if (piece !== undefined) {
        reporter.say(`received ${shownMessage(data)}`, {
          event: "received",
          ...describe(data, {}),
        });
      }
      last = data.at(-1);
      isAnswered = true;
      return wire.print(data);
    },
  };
  const options = expect === undefined ? { limit } : { expect, timeout };
  await namingStopped(path, pipeStdio(printing, source, options));
  const isRaw = flags.framing === undefined && !flags.hex;
  // To an empty message, nothing is the answer.
  if (!isAnswered && message !== "") {
    reportNothing(isRaw && !isInput && !message.endsWith("\n") && !flags.line);
  }
  // The prompt of a terminal must begin on a new line. Framed messages end with a line feed
  // already.
  if (isRaw && last !== undefined && last !== LF && Deno.stdout.isTerminal()) await print("\n");
}

/** Throws if `--line` would add a newline to something other than one text. */
function checkLine({ line, framing, hex, type }: SendFlags, message: string): void {
  if (!line) return;
  if (message === "-") {
    throw new UsageError("--line needs MESSAGE: standard input has its own ends");
  }
  if (framing !== undefined || hex || (type ?? "stream") !== "stream") {
    throw new UsageError("--line does not go with --framing, --hex and --type");
  }
}

/** @param lacksNewline Whether a protocol of lines would not take the message for one. */
function reportNothing(lacksNewline: boolean): void {
  const remedy = lacksNewline ? ". If it reads lines, add --line" : "";
  reporter.say(`the server sent nothing${remedy}`, { event: "nothing" });
}
