/** A child that has one end of a socket pair as its standard input and output. */

import { type Child, pair, type PairOptions } from "../../pair.ts";

/**
 * The shell that moves descriptor 3 to standard input and output, and then executes the command.
 */
export const SHELL = "sh";
const ON_STDIO = 'exec "$0" "$@" <&3 >&3 3>&-';

/** Starts a program with the socket as its standard input and output. */
export function startOnStdio(
  command: string,
  args: readonly string[],
  options: Pick<PairOptions, "signal" | "detached"> = {},
): Promise<Child> {
  return pair(SHELL, { ...options, args: ["-c", ON_STDIO, respell(command), ...args] });
}

/**
 * Spells the path of Deno itself differently: Deno inserts `-A` after it in arguments of a program.
 */
function respell(command: string): string {
  return command === Deno.execPath() ? command.replace(/\/([^/]*)$/, "/./$1") : command;
}
