/** Servers of the command line whose accept the system lets fail. */

import { Process, udsCommand } from "./_cli.ts";
import { encode, within } from "./_helpers.ts";

/** How many clients such a server meets. */
export const CLIENTS = 20;

/** Starts the command line where `accept4` fails at its calls `when`, in strace's words. */
export function startFailing(args: string[], error: string, when: string): Process {
  // With -D the process is the program, and strace one beside it: a signal reaches the program.
  const trace = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", "trace=accept4"];
  const inject = `inject=accept4:error=${error}:when=${when}`;
  return new Process(["strace", ...trace, "-e", inject, ...udsCommand(args)]);
}

/** Sends a byte to a server from so many clients, and returns how many got it back within 5 seconds. */
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
