/** `uds send PATH MESSAGE`: one message, and the reply. */

import { connect } from "../client.ts";
import { OK } from "./exit_codes.ts";
import type { Command } from "./main.ts";
import { parse, positive, socketPath } from "./usage.ts";

const HELP = `uds send PATH MESSAGE: send a message, and print the reply

  uds send /tmp/echo.sock hello
  uds send /tmp/echo.sock hello --piece 16   read the reply 16 bytes at a time, and tell each piece

Options:
  --piece BYTES   read at most so many bytes at a time

It sends the message as it is, without a newline, and the end of file; then it prints what comes
until the other side ends.
`;

/** Bytes that are read at once, unless `--piece` says otherwise. */
const BUFFER_SIZE = 64 * 1024;

/** The command. */
export const send: Command = { help: HELP, run };

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parse(args, { piece: { type: "string" } }, ["PATH", "MESSAGE"]);
  const piece = positive("--piece", values.piece);
  const [path, message] = positionals as [string, string];
  await using conn = await connect(socketPath(path));
  const buffer = new Uint8Array(piece ?? BUFFER_SIZE);
  // Sent while the reply is read: a server that answers at once must not be held back.
  const sent = conn.write(new TextEncoder().encode(message)).then(() => conn.closeWrite());
  sent.catch(() => {});
  let last = 0;
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) break;
    const data = buffer.subarray(0, count);
    if (piece !== undefined) {
      console.error(`received ${JSON.stringify(new TextDecoder().decode(data))}`);
    }
    if (!await print(data)) return OK;
    last = data[count - 1] as number;
  }
  await sent;
  // On a terminal the prompt belongs on a line of its own.
  if (last !== 0 && last !== 0x0a && Deno.stdout.isTerminal()) console.log();
  return OK;
}

/** Writes to standard output; tells whether somebody still reads there. */
async function print(data: Uint8Array): Promise<boolean> {
  try {
    for (let sent = 0; sent < data.length;) sent += await Deno.stdout.write(data.subarray(sent));
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw new Error(`Cannot write to standard output: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
