/** `uds send PATH [MESSAGE|-]`: one message, and the reply. */

import type { SocketPath } from "../../address.ts";
import { connect } from "../../client.ts";
import { AnswerLimit } from "../io/answer_limit.ts";
import { type ConnectFlags, connectOptions } from "./connect.ts";
import { OK } from "../exit_codes.ts";
import { messageSource, toMessage } from "../io/framing.ts";
import { pass } from "../io/pass.ts";
import { checkPassFlags, passMessages } from "../io/pass_messages.ts";
import { print } from "../io/output.ts";
import { Input, Message } from "../io/streams.ts";
import { Reporter } from "../io/reporter.ts";

/** Its options. */
export type SendFlags = ConnectFlags & {
  readonly piece?: number;
};

/** The command. */
export async function run(flags: SendFlags, path: SocketPath, message = "-"): Promise<number> {
  checkPassFlags("send", flags);
  const source = message === "-"
    ? messageSource(new Input(), flags)
    : new Message(toMessage(message, flags));
  const talk = new Reporter(flags);
  const conn = await connect(connectOptions(flags, path));
  if (message === "-" && Deno.stdin.isTerminal()) {
    talk.say("type the message, and Ctrl-D", { event: "reading" });
  }
  using limit = new AnswerLimit(conn, path, flags.timeout === 0 ? undefined : flags.timeout);
  try {
    if (flags.framing !== undefined || flags.hex) {
      await passMessages(conn, source, flags, flags.expect === undefined ? { limit } : {});
      return OK;
    }
    const last = await pass(conn, source, {
      limit,
      ...(flags.piece !== undefined && {
        size: flags.piece,
        onPiece(data) {
          const text = new TextDecoder().decode(data);
          talk.say(`received ${JSON.stringify(text)}`, { event: "received", text });
        },
      }),
    });
    // On a terminal the prompt belongs on a line of its own.
    if (last !== undefined && last !== 0x0a && Deno.stdout.isTerminal()) await print("\n");
    return OK;
  } catch (error) {
    throw await limit.explain(error);
  }
}
