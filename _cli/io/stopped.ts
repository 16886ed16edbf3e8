/** Servers that are stopped, as by `kill -STOP`. */

import type { SocketPath } from "../../address.ts";
import { probe } from "../../probe.ts";
import { mayReadProc, readProc } from "./proc.ts";

/**
 * Waits for some work with a server. An error after a time limit also names the server's process,
 * if that is stopped and this process can see it.
 */
export async function namingStopped<T>(path: SocketPath, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    const isTimeout = error instanceof Deno.errors.TimedOut && mayReadProc();
    const stopped = isTimeout ? await stoppedHolder(path) : undefined;
    if (stopped !== undefined) (error as Error).message += `. Its process ${stopped} is stopped`;
    throw error;
  }
}

/** Returns the process that holds the path, if it is stopped. */
async function stoppedHolder(path: SocketPath): Promise<number | undefined> {
  try {
    const { holder } = await probe(path);
    const stat = holder === undefined ? undefined : readProc(`${holder}/stat`);
    // The name of the program, in parentheses, may contain parentheses and spaces.
    return stat !== undefined && /\) [Tt][^)]*$/.test(stat) ? holder : undefined;
  } catch {
    return undefined;
  }
}
