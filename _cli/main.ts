/** The command line: understands it, runs the command, and turns what it throws into an exit code. */

import { parse } from "./parse/command_line.ts";
import { FAILURE, OK } from "./exit_codes.ts";
import { errorsPrinted, print } from "./io/output.ts";
import { endAsInit } from "./io/signals.ts";
import { Talk } from "./io/reporter.ts";

/**
 * Runs the command line.
 *
 * @param args What follows the name of the program.
 * @returns The exit code.
 */
export async function main(args: readonly string[]): Promise<number> {
  const end = args.indexOf("--");
  const json = (end < 0 ? args : args.slice(0, end)).includes("--json");
  const talk = new Talk({ json });
  tellUncaught(talk);
  try {
    endAsInit();
    const parsed = await parse(args);
    if (typeof parsed !== "string") return await parsed.run();
    await print(parsed);
    return OK;
  } catch (error) {
    return talk.fail(error);
  } finally {
    await errorsPrinted();
  }
}

/** Ends this process at an error that nothing has caught: Deno would print the line of our code first. */
function tellUncaught(talk: Talk): void {
  const end = (event: Event, error: unknown) => {
    event.preventDefault();
    Deno.exit(talk.fail(error) || FAILURE);
  };
  addEventListener("unhandledrejection", (event) => end(event, event.reason));
  addEventListener("error", (event) => end(event, event.error));
}
