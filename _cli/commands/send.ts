/** `uds send PATH [MESSAGE|-]`: one message, and the reply. */

import type { SocketPath } from "../../address.ts";
import { connect } from "../../client.ts";
import { OK } from "../exit_codes.ts";
import { AnswerLimit } from "../io/answer_limit.ts";
import { checkFraming, checkHex, stdinItems, wireOf } from "../io/framing.ts";
import { print } from "../io/output.ts";
import { bytesOf, pipeStdio } from "../io/pipe_stdio.ts";
import { Reporter } from "../io/reporter.ts";
import { Peekable } from "../io/stdin.ts";
import { type ConnectFlags, connectOptions } from "./connect.ts";

/** Its options. */
export type SendFlags = ConnectFlags & {
  readonly piece?: number;
};

const LF = 10;

/** The command. */
export async function run(flags: SendFlags, path: SocketPath, message = "-"): Promise<number> {
  checkFraming("send", flags);
  const isInput = message === "-";
  if (!isInput && flags.hex) checkHex(message);
  const source = isInput
    ? stdinItems(flags)
    : new Peekable([new TextEncoder().encode(message)].values());
  const reporter = new Reporter(flags);
  const conn = await connect(connectOptions(flags, path));
  if (isInput && Deno.stdin.isTerminal()) {
    reporter.say("type the message, and Ctrl-D", { event: "reading" });
  }
  const { expect, timeout, piece } = flags;
  using limit = new AnswerLimit(conn, path, timeout === 0 ? undefined : timeout);
  const wire = piece === undefined ? wireOf(conn, flags) : bytesOf(conn, piece);
  let last: number | undefined;
  const printing = {
    ...wire,
    print(data: Uint8Array): Promise<void> {
      if (piece !== undefined) {
        const text = new TextDecoder().decode(data);
        reporter.say(`received ${JSON.stringify(text)}`, { event: "received", text });
      }
      last = data.at(-1);
      return wire.print(data);
    },
  };
  try {
    await pipeStdio(printing, source, expect === undefined ? { limit } : { expect, timeout });
  } catch (error) {
    throw await limit.explain(error);
  }
  // A terminal shows its prompt on a line of its own. Messages end with a line feed already.
  const isRaw = flags.framing === undefined && !flags.hex;
  if (isRaw && last !== undefined && last !== LF && Deno.stdout.isTerminal()) await print("\n");
  return OK;
}
