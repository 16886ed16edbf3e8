/** A child that has one end of a socket pair as its standard input and output. */

import { respell } from "../../_internal/base/path.ts";
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
