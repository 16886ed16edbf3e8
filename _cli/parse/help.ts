/** The help texts: examples first. */

import { paint } from "../text/color.ts";
import { align } from "../text/columns.ts";
import type { Command, Example } from "./command.ts";

const EXAMPLES: readonly Example[] = [
  ["uds echo /tmp/echo.sock", "serve an echo"],
  ["uds send /tmp/echo.sock hello", "send it a message"],
  ["uds connect /tmp/app.sock", "standard input and output on a socket"],
  ["uds ls", "which sockets exist, and which process holds each"],
];

const NOTES = `Run uds COMMAND --help for the options of a command.

Exit codes: 0 done, or alive; 1 failure; 2 wrong command line; 3 nothing at the path; 4 stale socket;
5 in use, claimed or full; 6 denied by the system; 7 not a socket; 8 timed out; 9 missing Deno
permission.`;

const REQUESTS: readonly Example[] = [
  [spell("help", "h"), "print this help"],
  [spell("version", "V"), "print the version"],
];

/** Returns the help of a command. */
export function formatCommand(name: string, command: Command): string {
  const options = Object.entries(command.options).map(([name, option]): Example => {
    const value = option.parse === undefined ? "" : ` ${option.placeholder}`;
    return [spell(name, option.letter) + value, option.brief];
  });
  return sections([
    paint("bold", `uds ${name} ${command.usage}: ${command.brief}`),
    columns(command.examples),
    columns(command.args.map(({ placeholder, brief }) => [placeholder, brief])),
    columns([...options, ...REQUESTS]),
    command.notes ?? "",
  ]);
}

/** Returns the help of the whole program. */
export function formatProgram(commands: ReadonlyMap<string, Command>): string {
  return sections([
    paint("bold", "uds: Unix domain sockets"),
    columns(EXAMPLES),
    columns([...commands].map(([name, { brief }]) => [name, brief])),
    columns(REQUESTS),
    NOTES,
  ]);
}

function sections(all: readonly string[]): string {
  return `${all.filter((section) => section !== "").join("\n\n")}\n`;
}

function spell(name: string, letter?: string): string {
  return `${letter === undefined ? "   " : `-${letter},`} --${name}`;
}

function columns(rows: readonly Example[]): string {
  return align(rows).map((line) => `  ${line}`).join("\n");
}
