/** Finds the command, runs it, and turns what it throws into a line and an exit code. */

import { exitCodeOf, FAILURE, OK, USAGE } from "./exit_codes.ts";
import { UsageError } from "./usage.ts";

/** A command of the command line. */
export interface Command {
  /** Its help: examples first. */
  help: string;
  /** Runs it; gives the exit code. */
  run(args: string[]): Promise<number>;
}

/** The commands; each is loaded only when it is called. */
const COMMANDS: Record<string, { summary: string; load: () => Promise<Command> }> = {
  echo: {
    summary: "serve an echo on a path",
    load: () => import("./echo.ts").then((module) => module.echo),
  },
  send: {
    summary: "send a message to a path, and print the reply",
    load: () => import("./send.ts").then((module) => module.send),
  },
};

const HELP = `uds: Unix domain sockets

  uds echo /tmp/echo.sock              serve an echo
  uds send /tmp/echo.sock hello        talk to it

Commands:
${
  Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(8)} ${summary}`).join("\n")
}

  uds COMMAND --help   its options
  uds --version
`;

/**
 * Runs the command line.
 *
 * @param args What follows the name of the program.
 * @returns The exit code.
 */
export async function main(args: readonly string[]): Promise<number> {
  const [name, ...rest] = args;
  try {
    if (name === "--help" || name === "-h" || name === "help") {
      console.log(HELP.trimEnd());
      return OK;
    }
    if (name === "--version" || name === "-V") {
      const { default: config } = await import("../deno.json", { with: { type: "json" } });
      console.log(`uds ${config.version}`);
      return OK;
    }
    if (name === undefined) throw new UsageError("there is no command");
    const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
    if (command === undefined) {
      throw new UsageError(
        `there is no command ${JSON.stringify(name)}; there are ${
          Object.keys(COMMANDS).join(", ")
        }`,
      );
    }
    const { help, run } = await command.load();
    const end = rest.indexOf("--");
    const options = end < 0 ? rest : rest.slice(0, end);
    if (options.includes("--help") || options.includes("-h")) {
      console.log(help.trimEnd());
      return OK;
    }
    return await run(rest);
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    console.error(`uds: ${text}`);
    if (error instanceof UsageError) {
      console.error(`Try: uds ${Object.hasOwn(COMMANDS, name ?? "") ? `${name} ` : ""}--help`);
      return USAGE;
    }
    return error instanceof Error ? exitCodeOf(error) : FAILURE;
  }
}
