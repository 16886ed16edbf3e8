/** The help texts: examples first. */

import type { Command, CommandContext } from "npm:@stricli/core@1.3.0";
import { bold } from "./color.ts";

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

type Parameters = Command<CommandContext>["parameters"];
type Style = globalThis.Parameters<Command<CommandContext>["formatHelp"]>[0];

/** The help of a command. */
export function formatCommand(docs: Docs, parameters: Parameters, style: Style): string {
  const { flags = {}, aliases = {}, positional } = parameters;
  const short = Object.entries(aliases).map(([letter, name]) => [name, letter] as const);
  const letters = new Map<string, string>(short);
  const operands = positional?.kind === "array" ? [positional.parameter] : positional?.parameters;
  const options = Object.entries(flags).map(([name, flag]) =>
    [option(letters.get(name), name, flag.placeholder), flag.brief] as const
  );
  for (const { name, aliases, brief } of style.additionalFlags) {
    options.push([option(aliases?.[0], name), brief]);
  }
  const sections = [
    bold(`${style.prefix.join(" ")} ${docs.usage}: ${docs.brief}`),
    columns(docs.examples),
    columns((operands ?? []).map(({ placeholder = "", brief }) => [placeholder, brief])),
    columns(options),
    docs.notes ?? "",
  ];
  return `${sections.filter((section) => section !== "").join("\n\n")}\n`;
}

/** The help of the whole program. */
export function formatProgram(
  docs: Omit<Docs, "usage">,
  commands: readonly Example[],
  style: Style,
): string {
  const sections = [
    bold(docs.brief),
    columns(docs.examples),
    columns(commands),
    columns(style.additionalFlags.map(({ name, aliases, brief }) => [
      option(aliases?.[0], name),
      brief,
    ])),
    docs.notes ?? "",
  ];
  return `${sections.join("\n\n")}\n`;
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
