/** Servers of the command line with an accept that fails. */

import { Process, udsCommand } from "./_cli.ts";
import { changing, encode, within } from "./_helpers.ts";

/** The number of clients of such a server. */
export const CLIENTS = 20;

/** Starts the command line. `accept4` fails at its calls `when`, in the syntax of strace. */
export function startFailing(args: string[], error: string, when: string): Process {
  // With -D strace is not the parent of the program, so a signal reaches the program.
  const inject = changing(`accept4:error=${error}:when=${when}`);
  return new Process(["strace", "-D", ...inject, ...udsCommand(args)]);
}

/** Sends a byte from each client, and returns how many received it back within 5 seconds. */
export async function countEchoes(connect: () => Promise<Deno.Conn>): Promise<number> {
  let count = 0;
  for (let i = 0; i < CLIENTS; i++) {
    const conn = await connect();
    const answer = (async () => {
      await conn.write(encode("x"));
      return await conn.read(new Uint8Array(1));
    })();
    if (await within(5000, answer).catch(() => null) === 1) count++;
    conn.close();
    await answer.catch(() => {});
  }
  return count;
}
