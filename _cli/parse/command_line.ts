/** A command line, from the name of the command on. */

import { UsageError } from "../exit_codes.ts";
import { didYouMean } from "../text/suggestion.ts";
import type { Command, Invocation } from "./command.ts";
import { parseOptions, type Request, REQUESTS } from "./parser.ts";

type Help = typeof import("./help.ts");

/** The table of commands, by name. */
export type Commands = ReadonlyMap<string, Command>;

/** Parses a command line. Returns a command to run, or a text to print, such as the help. */
export async function parse(
  args: readonly string[],
  commands: Commands,
): Promise<Invocation | string> {
  const [name, ...rest] = args;
  if (name === undefined) throw new UsageError("missing command: uds COMMAND [ARG...]");
  if (name === "help") return await parse([...rest.slice(0, 1), "--help"], commands);
  const request = REQUESTS.get(name);
  if (request !== undefined) return await answer(request, (help) => help.formatProgram(commands));
  if (name.startsWith("-")) {
    throw new UsageError(`unexpected ${JSON.stringify(name)} before the command`);
  }
  const command = commands.get(name);
  if (command === undefined) {
    const meant = didYouMean(name, [...commands.keys(), "help"]);
    throw new UsageError(`unknown command ${JSON.stringify(name)}${meant}`);
  }
  const parsed = await named(name, () => parseOptions(name, command, rest));
  if (typeof parsed === "string") {
    return await answer(parsed, (help) => help.formatCommand(name, command));
  }
  const invocation = command.invoke(parsed.flags, parsed.args);
  return { ...invocation, run: () => named(name, invocation.run) };
}

/** Does some work of a command, and adds its name to a usage error. */
async function named<T>(name: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof UsageError) error.command ??= name;
    throw error;
  }
}

/** Returns the help or the version. */
async function answer(request: Request, format: (help: Help) => string): Promise<string> {
  if (request === "help") return format(await import("./help.ts"));
  const { default: config } = await import("../../deno.json", { with: { type: "json" } });
  return `uds ${config.version}\n`;
}
