/** A child whose standard input and output are one end of a socket pair. */

import { type Child, pair, type PairOptions } from "../../pair.ts";

/** The command that starts another one with its descriptor 3 as its standard input and output. */
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
 * A command in another spelling, if it is Deno itself: where its own path stands in the arguments of
 * another program, Deno inserts `-A` into them.
 */
function respell(command: string): string {
  return command === Deno.execPath() ? command.replace(/\/([^/]*)$/, "/./$1") : command;
}
