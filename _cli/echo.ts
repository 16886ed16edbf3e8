/** `uds echo PATH`: an echo server. */

import type { Connection } from "../connection.ts";
import { serve } from "../server.ts";
import { OK } from "./exit_codes.ts";
import type { Command } from "./main.ts";
import { untilSignal } from "./signals.ts";
import { octalMode, parse, positive, socketPath } from "./usage.ts";

const HELP = `uds echo PATH: serve an echo

  uds echo /tmp/echo.sock
  uds echo /tmp/echo.sock --mode 660       let the group in
  uds echo /tmp/echo.sock --piece 16       in pieces of at most 16 bytes, and tell each
  uds echo @name                           an abstract name (Linux)

Options:
  --mode MODE     permission bits of the socket file, in octal (default 600)
  --piece BYTES   read and send back at most so many bytes at a time

The first Ctrl-C or SIGTERM ends it gracefully: who is connected is served, and the path is removed.
The second one ends it at once.
`;

/** Bytes that are read at once, unless `--piece` says otherwise. */
const BUFFER_SIZE = 64 * 1024;

/** The command. */
export const echo: Command = { help: HELP, run };

async function run(args: string[]): Promise<number> {
  const { values, positionals } = parse(
    args,
    { mode: { type: "string" }, piece: { type: "string" } },
    ["PATH"],
  );
  const mode = octalMode(values.mode);
  const piece = positive("--piece", values.piece);
  const path = socketPath(positionals[0] as string);
  await using server = await serve({
    path,
    ...(mode !== undefined && { mode }),
    onListen: ({ path }) => console.error(`listening on ${shown(path)}`),
    onError: (error) => console.error(`uds: ${(error as Error).message}`),
  }, (conn) => sendBack(conn, piece));
  await untilSignal();
  console.error("ending");
  await server.shutdown();
  return OK;
}

/** Sends back what comes; with `piece` as many bytes at a time, and tells each. */
async function sendBack(conn: Connection, piece: number | undefined): Promise<void> {
  const buffer = new Uint8Array(piece ?? BUFFER_SIZE);
  for (;;) {
    const count = await conn.read(buffer);
    if (count === null) return;
    const data = buffer.subarray(0, count);
    if (piece !== undefined) {
      console.error(`received ${JSON.stringify(new TextDecoder().decode(data))}, sending it back`);
    }
    await conn.write(data);
  }
}

/** An address as the command line writes it. */
function shown(path: string | null): string {
  return path?.startsWith("\0") ? `@${path.slice(1)}` : String(path);
}
