/** Files of `/proc`, which Deno shows only to a process with all permissions. */

import type { SocketPath } from "../../address.ts";
import { probe } from "../../probe.ts";
import { ALL_PERMISSIONS, areGranted } from "../../_internal/base/deno_permissions.ts";

let mayRead: boolean | undefined;

/** Reports whether Deno shows `/proc` to this process. */
export function mayReadProc(): boolean {
  return mayRead ??= Deno.build.os === "linux" &&
    areGranted(ALL_PERMISSIONS);
}

/** Returns the text of a file below `/proc`, or `undefined` if this process cannot read it. */
export function readProc(file: string): string | undefined {
  if (!mayReadProc()) return undefined;
  try {
    return Deno.readTextFileSync(`/proc/${file}`);
  } catch {
    return undefined;
  }
}

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
