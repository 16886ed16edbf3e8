/** A command: how its command line is understood, what it needs, and how it is called. */

import type {
  Command as Route,
  CommandContext,
  TypedCommandParameters,
} from "npm:@stricli/core@1.3.0";
import type { Docs } from "./help.ts";
import type { CommonFlags } from "./talk.ts";

/** A command line that has been understood. */
export interface Invocation {
  /** Loads the command and runs it; gives the exit code. */
  run(): Promise<number>;
  /** The Deno permissions that it takes. */
  needs(): Promise<Deno.PermissionOptionsObject>;
}

/** A command of the table, whatever its options and arguments are. */
export interface Command extends Docs {
  readonly parameters: Route<CommandContext>["parameters"];
  /** What is called when the options and arguments have been understood. */
  invoke(flags: object, args: readonly unknown[]): Invocation;
}

type AllFlags = CommonFlags & Readonly<Record<string, unknown>>;
type Needs = Deno.PermissionOptionsObject;

/** A command with the types of its options and arguments. */
interface TypedCommand<Flags extends AllFlags, Args extends readonly unknown[]> extends Docs {
  parameters: TypedCommandParameters<Flags, Args, CommandContext>;
  needs(flags: Flags, ...args: Args): Needs | Promise<Needs>;
  load(): Promise<(flags: Flags, ...args: Args) => Promise<number>>;
}

/** Makes a command of the table: from here on its flags and arguments have no types of their own. */
export function command<Flags extends AllFlags, Args extends readonly unknown[]>(
  { parameters, needs, load, ...docs }: TypedCommand<Flags, Args>,
): Command {
  return {
    ...docs,
    // What is parsed by these parameters is of those types.
    parameters: parameters as Command["parameters"],
    invoke: (flags, args) => ({
      run: async () => await (await load())(flags as Flags, ...args as Args),
      needs: async () => await needs(flags as Flags, ...args as Args),
    }),
  };
}
