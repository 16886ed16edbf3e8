/** The help texts: examples first. */

import { paint } from "../text/color.ts";
import { rewrap, terminalWidth, twoColumns, wrap } from "../text/wrap.ts";
import type { Command, Example } from "./command.ts";

const EXAMPLES: readonly Example[] = [
  ["uds echo /tmp/echo.sock", "serve an echo"],
  ["uds send /tmp/echo.sock hello", "send it a message"],
  ["uds connect /tmp/app.sock", "standard input and output on a socket"],
  ["uds ls", "which sockets exist, and which process holds each"],
];

const NOTES = `Run uds COMMAND --help for the options of a command.

Exit codes:

  0 done, or alive
  1 failure
  2 wrong command line
  3 nothing at the path
  4 stale socket
  5 in use, claimed, full or another type
  6 denied by the system
  7 not a socket
  8 timed out
  9 missing Deno permission`;

const REQUESTS: readonly Example[] = [
  [spell("help", "h"), "print this help"],
  [spell("version", "V"), "print the version"],
];

/** What the help says about the whole program. */
export interface ProgramHelp {
  readonly examples: readonly Example[];
  readonly requests: readonly Example[];
  readonly notes: string;
}

/** The same, for man pages. */
export const PROGRAM: ProgramHelp = { examples: EXAMPLES, requests: REQUESTS, notes: NOTES };

/** Returns the help of a command. */
export function formatCommand(
  name: string,
  command: Command,
  width: number = terminalWidth(),
): string {
  const options = Object.entries(command.options).map(([name, option]): Example => {
    const value = option.parse === undefined ? "" : ` ${option.placeholder}`;
    return [spell(name, option.letter) + value, option.brief];
  });
  return sections([
    bold(`uds ${name} ${command.usage}: ${command.brief}`, width),
    twoColumns(command.examples, width, true),
    twoColumns(command.args.map(({ placeholder, brief }) => [placeholder, brief]), width),
    twoColumns([...options, ...REQUESTS], width),
    command.notes === undefined ? [] : rewrap(command.notes, width),
  ]);
}

/** Returns the help of the whole program. */
export function formatProgram(
  commands: ReadonlyMap<string, Command>,
  width: number = terminalWidth(),
): string {
  return sections([
    bold("uds: Unix domain sockets", width),
    twoColumns(EXAMPLES, width, true),
    twoColumns([...commands].map(([name, { brief }]) => [name, brief]), width),
    twoColumns(REQUESTS, width),
    rewrap(NOTES, width),
  ]);
}

function sections(all: readonly string[][]): string {
  const filled = all.filter((lines) => lines.length > 0).map((lines) => lines.join("\n"));
  return `${filled.join("\n\n")}\n`;
}

function bold(title: string, width: number): string[] {
  return wrap(title, width).map((line) => paint("bold", line));
}

function spell(name: string, letter?: string): string {
  return `${letter === undefined ? "   " : `-${letter},`} --${name}`;
}
