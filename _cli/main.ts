/** The command line: parses it, runs the command, and turns what it throws into an exit code. */

import { FAILURE, OK } from "./exit_codes.ts";
import { errorsPrinted, print } from "./io/output.ts";
import { reporter, setReporter } from "./io/reporter.ts";
import { endAsInit } from "./io/signals.ts";
import { type Commands, parse } from "./parse/command_line.ts";

/**
 * Runs the command line.
 *
 * @param args What follows the name of the program.
 * @returns The exit code.
 */
export async function main(args: readonly string[]): Promise<number> {
  const end = args.indexOf("--");
  setReporter({ json: (end < 0 ? args : args.slice(0, end)).includes("--json") });
  reportUncaught();
  try {
    endAsInit();
    const parsed = await parse(args, await tableWith(args[0]));
    if (typeof parsed !== "string") {
      setReporter(parsed.flags);
      return await parsed.run();
    }
    await print(parsed);
    return OK;
  } catch (error) {
    reporter.flush();
    return reporter.fail(error);
  } finally {
    reporter.flush();
    await errorsPrinted();
  }
}

/** Tables of commands, the most frequent first. */
const TABLES = [
  async () => (await import("./table/paths.ts")).PATHS,
  async () => (await import("./table/calling.ts")).CALLING,
];

/** Returns the first table that has a command. Loading the others slows down its start. */
async function tableWith(name = ""): Promise<Commands> {
  for (const load of TABLES) {
    const table = await load();
    if (Object.hasOwn(table, name)) return new Map(Object.entries(table));
  }
  return (await import("./table.ts")).COMMANDS;
}

/** Ends this process at an uncaught error: Deno would print a line of our source first. */
function reportUncaught(): void {
  const end = (event: Event, error: unknown) => {
    event.preventDefault();
    Deno.exit(reporter.fail(error) || FAILURE);
  };
  addEventListener("unhandledrejection", (event) => end(event, event.reason));
  addEventListener("error", (event) => end(event, event.error));
}
