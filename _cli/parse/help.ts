/** The help texts: examples first. */

import { bold } from "../text/color.ts";
import type { Command } from "./command.ts";

/** A line to type, and what it does. */
export type Example = readonly [line: string, what: string];

/** What the help says of a command beside its arguments and options. */
export interface Docs {
  /** What it does, in a few words. */
  readonly brief: string;
  /** Its arguments, as the first line shows them. */
  readonly usage: string;
  readonly examples: readonly Example[];
  /** What else there is to know. */
  readonly notes?: string;
}

const EXAMPLES: readonly Example[] = [
  ["uds echo /tmp/echo.sock", "serve an echo"],
  ["uds send /tmp/echo.sock hello", "talk to it"],
  ["uds connect /tmp/app.sock", "standard input and output on a socket"],
  ["uds ls", "which sockets are there, and who has them"],
];

const NOTES = `uds COMMAND --help tells the rest.

Exit codes: 0 done, or alive; 1 failure; 2 the command line is wrong; 3 nothing at the path; 4 nobody
listens on it; 5 in use, claimed or full; 6 denied by the system; 7 not a socket; 8 timed out; 9 a Deno
permission is missing.`;

/** The options that every command has, and the program itself. */
const OWN_OPTIONS: readonly Example[] = [
  [option("h", "help"), "print this help"],
  [option("V", "version"), "print the version"],
];

/** The help of a command. */
export function formatCommand(name: string, { parameters, ...docs }: Command): string {
  const { flags, aliases, positional } = parameters;
  const letters = new Map(Object.entries(aliases).map(([letter, name]) => [name, letter]));
  const operands = positional.kind === "array" ? [positional.parameter] : positional.parameters;
  const options = Object.entries(flags).map(([name, flag]) => {
    const placeholder = flag.kind === "boolean" ? undefined : flag.placeholder;
    return [option(letters.get(name), name, placeholder), flag.brief] as const;
  });
  return sections([
    bold(`uds ${name} ${docs.usage}: ${docs.brief}`),
    columns(docs.examples),
    columns(operands.map(({ placeholder, brief }) => [placeholder, brief])),
    columns([...options, ...OWN_OPTIONS]),
    docs.notes ?? "",
  ]);
}

/** The help of the whole program. */
export function formatProgram(commands: ReadonlyMap<string, Command>): string {
  return sections([
    bold("uds: Unix domain sockets"),
    columns(EXAMPLES),
    columns([...commands].map(([name, { brief }]) => [name, brief])),
    columns(OWN_OPTIONS),
    NOTES,
  ]);
}

function sections(all: readonly string[]): string {
  return `${all.filter((section) => section !== "").join("\n\n")}\n`;
}

function option(letter: string | undefined, name: string, placeholder?: string): string {
  const value = placeholder === undefined ? "" : ` ${placeholder}`;
  return `${letter === undefined ? "   " : `-${letter},`} --${name}${value}`;
}

/** Two columns. */
function columns(rows: readonly Example[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`.trimEnd()).join("\n");
}
