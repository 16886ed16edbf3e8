/** Understanding a command line. */

import type { Invocation } from "./command.ts";
import { COMMANDS } from "../table.ts";
import { formatCommand, formatProgram } from "./help.ts";
import { parseOptions, type Request, REQUESTS, suggestion } from "./parser.ts";
import { UsageError } from "../io/reporter.ts";

/** Understands a command line: a command to run, or a text to print, such as the help. */
export async function parse(args: readonly string[]): Promise<Invocation | string> {
  const [name, ...rest] = args;
  if (name === undefined) throw new UsageError("there is no command");
  if (name === "help") return await parse([...rest.slice(0, 1), "--help"]);
  const request = REQUESTS.get(name);
  if (request !== undefined) return await answer(request);
  if (name.startsWith("-")) {
    throw new UsageError(`there is no option ${JSON.stringify(name)} before a command`);
  }
  const command = COMMANDS.get(name);
  if (command === undefined) {
    const names = [...COMMANDS.keys(), "help"];
    throw new UsageError(
      `there is no command ${JSON.stringify(name)}${suggestion(name, names)}`,
    );
  }
  const parsed = parseOptions(name, command, rest);
  if (typeof parsed === "string") return await answer(parsed, name);
  return command.invoke(parsed.flags, parsed.args);
}

/** The help of a command, or of the whole program; or the version. */
async function answer(request: Request, name?: string): Promise<string> {
  if (request === "version") {
    const { default: config } = await import("../../deno.json", { with: { type: "json" } });
    return `uds ${config.version}\n`;
  }
  return name === undefined ? formatProgram(COMMANDS) : formatCommand(name, COMMANDS.get(name)!);
}
