/** Understanding a command line with options, and the help: by a library, from the table of commands. */

import {
  type Application,
  type ApplicationText,
  type ArgumentParseError,
  buildApplication,
  buildCommand,
  buildRouteMap,
  type Command as Route,
  type CommandContext,
  formatMessageForArgumentScannerError,
  help,
  type RouteMap,
  run,
  text_en,
  version,
} from "npm:@stricli/core@1.3.0";
import type { Command, Invocation } from "./command.ts";
import { COMMANDS } from "./commands.ts";
import { formatCommand, formatProgram } from "./help.ts";
import { InvalidValue } from "./parameters.ts";
import { UsageError } from "./talk.ts";

const NAME = "uds";

const DOCS = {
  brief: "uds: Unix domain sockets",
  examples: [
    ["uds echo /tmp/echo.sock", "serve an echo"],
    ["uds send /tmp/echo.sock hello", "talk to it"],
    ["uds connect /tmp/app.sock", "standard input and output on a socket"],
    ["uds ls", "which sockets are there, and who has them"],
  ],
  notes: `uds COMMAND --help tells the rest.

Exit codes: 0 done, or alive; 1 failure; 2 the command line is wrong; 3 nothing at the path; 4 nobody
listens on it; 5 in use, claimed or full; 6 denied by the system; 7 not a socket; 8 timed out; 9 a Deno
permission is missing.`,
} as const;

/** What a command finds as its `this`: it hands itself over instead of running. */
interface Context extends CommandContext {
  readonly accept: (invocation: Invocation) => void;
}

/**
 * Understands a command line: a command to run, or a text to print.
 *
 * @param name The name of the command, if the rest is for one.
 * @param args What follows the name.
 */
export async function parseOptions(
  name: string | undefined,
  args: readonly string[],
): Promise<Invocation | string> {
  let printed = "";
  let invocation: Invocation | undefined;
  const complaints: string[] = [];
  await run(name === undefined ? program() : application(route(name), `${NAME} ${name}`), args, {
    process: {
      stdout: { write: (text) => void (printed += text) },
      stderr: { write: (text) => void complaints.push(text.trimEnd()) },
    },
    accept: (accepted) => invocation = accepted,
  });
  const [complaint] = complaints;
  if (complaint !== undefined) throw new UsageError(complaint, name);
  return invocation ?? printed;
}

/** A command of the table, for the library. */
function route(name: string): Route<Context> {
  const { parameters, invoke, ...docs } = COMMANDS.get(name) as Command;
  function accept(this: Context, flags: object, ...args: unknown[]): void {
    this.accept(invoke(flags, args));
  }
  const built = buildCommand<object, unknown[], Context>({
    loader: () => Promise.resolve(accept),
    parameters: parameters as object,
    docs: { brief: docs.brief },
  });
  return { ...built, formatHelp: (style) => formatCommand(docs, parameters, style) };
}

/** The application of one command. */
function application(
  root: Route<Context> | RouteMap<Context>,
  name: string,
): Application<Context> {
  return buildApplication<Context>(root as Route<Context>, {
    name,
    scanner: {
      caseStyle: "original",
      allowArgumentEscapeSequence: true,
      // A slip or two: what is further away helps nobody.
      distanceOptions: {
        threshold: 2,
        weights: { insertion: 1, deletion: 1, substitution: 1, transposition: 1 },
      },
    },
    localization: { text: TEXT },
  }, {
    help: help({
      brief: "print this help",
      alias: "h",
      defaultForRouteMap: true,
      complete: true,
      formatting: {
        caseStyle: "original",
        onlyRequiredInUsageLine: false,
        useAliasInUsageLine: false,
      },
    }),
    version: version({
      brief: "print the version",
      alias: "V",
      complete: true,
      info: { getCurrentVersion: currentVersion },
    }),
  });
}

/** The application of all commands. */
function program(): Application<Context> {
  const routes = Object.fromEntries([...COMMANDS.keys()].map((name) => [name, route(name)]));
  // A command called "toString" is not one of them.
  Object.setPrototypeOf(routes, null);
  const root = buildRouteMap<string, Context>({ routes, docs: { brief: DOCS.brief } });
  const commands = [...COMMANDS].map(([name, { brief }]) => [name, brief] as const);
  return application(
    { ...root, formatHelp: (style) => formatProgram(DOCS, commands, style) },
    NAME,
  );
}

async function currentVersion(): Promise<string> {
  const { default: config } = await import("../deno.json", { with: { type: "json" } });
  return `${NAME} ${config.version}`;
}

const TEXT: ApplicationText = {
  ...text_en,
  noCommandRegisteredForInput: ({ input, corrections }) =>
    `there is no command ${JSON.stringify(input)}${
      suggestion(corrections.map((name) => name.replaceAll("`", "")))
    }`,
  exceptionWhileParsingArguments: (error) =>
    formatMessageForArgumentScannerError(error as ArgumentParseError, {
      FlagNotFoundError: ({ input, corrections }) =>
        `there is no option --${input}${suggestion(corrections.map((name) => `--${name}`))}`,
      AliasNotFoundError: ({ input }) => `there is no option -${input}`,
      ArgumentParseError: ({ externalFlagNameOrPlaceholder: name, input, exception }) =>
        exception instanceof InvalidValue
          // An argument has a name in capitals.
          ? `${/^[A-Z]/.test(name) ? "" : "--"}${name} ${exception.message}`
          : `--${name} takes no value, and not ${JSON.stringify(input)}`,
      EnumValidationError: ({ externalFlagName, input, values }) =>
        `--${externalFlagName} takes ${values.join(", ")}, and not ${JSON.stringify(input)}`,
      UnsatisfiedFlagError: ({ externalFlagName }) => `--${externalFlagName} has no value`,
      UnexpectedFlagError: ({ externalFlagName }) => `--${externalFlagName} is there twice`,
      UnexpectedPositionalError: ({ input }) =>
        `there is one argument too many: ${JSON.stringify(input)}`,
      UnsatisfiedPositionalError: ({ placeholder }) => `${placeholder} is missing`,
    }),
};

function suggestion(names: readonly string[]): string {
  return names.length === 0 ? "" : `. Is it ${names.join(" or ")}?`;
}
