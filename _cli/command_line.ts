/** Understanding a command line. */

import type { Command, Invocation } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { InvalidValue } from "./parameters.ts";
import { UsageError } from "./talk.ts";

/** The commands whose arguments are a command line: what follows its first word is not for uds. */
const PASSING_ON = ["permissions", "run"];

/** The options that stand without a command. */
const OWN_OPTIONS = ["--help", "-h", "--version", "-V"];

/** What the library takes for an option; what else begins with "-" it would take for an argument. */
const OPTION = /^(-[a-z]+|-[a-z]=.+|--[a-z][a-z-.\d_]+(=.+)?)$/i;

/** Understands a command line: a command to run, or a text to print, such as the help. */
export async function parse(args: readonly string[]): Promise<Invocation | string> {
  const [name, ...rest] = args;
  if (name === undefined) throw new UsageError("there is no command");
  if (name === "help") return await parse([...rest.slice(0, 1), "--help"]);
  if (name.startsWith("-") && !OWN_OPTIONS.includes(name)) {
    throw new UsageError(`there is no option ${JSON.stringify(name)} before a command`);
  }
  const command = COMMANDS.get(name);
  const invocation = command && parsePlain(command, rest);
  if (invocation !== undefined) return invocation;
  const { parseOptions } = await import("./parser.ts");
  return command === undefined
    ? await parseOptions(undefined, args)
    : await parseOptions(name, prepare(name, command, rest));
}

/**
 * Understands arguments without any option. The library does so as well, but takes a quarter of the time
 * of `uds probe` to be loaded and to do it. What is wrong is left for it to tell.
 */
function parsePlain({ parameters, invoke }: Command, args: string[]): Invocation | undefined {
  const { positional } = parameters;
  if (positional === undefined || args.some((arg) => arg.startsWith("-"))) return undefined;
  const isList = positional.kind === "array";
  const each = isList ? args.map(() => positional.parameter) : positional.parameters;
  const least = isList ? positional.minimum ?? 0 : each.filter(({ optional }) => !optional).length;
  if (args.length < least || args.length > each.length) return undefined;
  try {
    return invoke({}, args.map((arg, i) => (each[i]!.parse as (arg: string) => unknown)(arg)));
  } catch (error) {
    if (error instanceof InvalidValue) return undefined;
    throw error;
  }
}

/** Marks where the options of `uds` end, takes `-w5` apart, and refuses what only looks like an option. */
function prepare(name: string, { parameters }: Command, args: string[]): string[] {
  const { flags = {}, aliases = {} } = parameters;
  const takesValue = (arg: string) => {
    const option = arg.startsWith("--") ? arg.slice(2) : aliases[arg[1] as keyof typeof aliases];
    return option !== undefined && (flags[option]?.kind ?? "boolean") !== "boolean";
  };
  const end = args.findIndex((arg) =>
    arg === "--" || PASSING_ON.includes(name) && !arg.startsWith("-")
  );
  const options = (end < 0 ? args : args.slice(0, end)).flatMap((arg) =>
    /^-\w[^=]/.test(arg) && takesValue(arg) ? [arg.slice(0, 2), arg.slice(2)] : [arg]
  );
  const stray = options.find((arg, i) =>
    /^-./.test(arg) && !OPTION.test(arg) && !takesValue(options[i - 1] ?? "")
  );
  if (stray !== undefined) {
    const quoted = JSON.stringify(stray);
    throw new UsageError(
      `there is no option ${quoted}. Write -- before an argument that begins with "-"`,
      name,
    );
  }
  if (end < 0) return options;
  return [...options, ...(args[end] === "--" ? [] : ["--"]), ...args.slice(end)];
}
