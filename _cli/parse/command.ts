/** A command: its options and arguments, the Deno permissions that it needs, and how it runs. */

import { OK } from "../exit_codes.ts";

/** The options that all commands have. */
export type CommonFlags = {
  readonly json?: boolean;
  readonly quiet?: boolean;
};

/** A line to type, and what it does. */
export type Example = readonly [line: string, what: string];

/** What the help says about a command besides its options and arguments. */
export interface Docs {
  /** What it does, in a few words. */
  readonly brief: string;
  /** Its arguments, as the first line of the help shows them. */
  readonly usage: string;
  readonly examples: readonly Example[];
  readonly notes?: string;
}

/** A command line that was understood. */
export interface Invocation {
  readonly flags: CommonFlags;
  /** Loads the command and runs it. Resolves to the exit code. */
  run(): Promise<number>;
  /** Returns the Deno permissions that it needs. */
  needs(): Promise<Needs>;
}

/** Deno permissions. */
export type Needs = Deno.PermissionOptionsObject;

/** An option without a value. */
export interface Switch {
  readonly brief: string;
  readonly letter?: string;
  readonly parse?: undefined;
}

/** An option with a value, or an argument. */
export interface Value<T = unknown> {
  readonly parse: (value: string) => T;
  readonly placeholder: string;
  readonly brief: string;
  /** The possible values, if they can be listed. */
  readonly values?: readonly string[];
  /** The letter of an option. */
  readonly letter?: string;
}

/** An argument that is not an option. */
export interface Argument<T = unknown> extends Value<T> {
  /** What an error calls it; the placeholder by default. */
  readonly noun?: string;
  readonly isOptional?: boolean;
  /** Whether more of the same kind may follow. Only the last argument can be repeated. */
  readonly isRepeated?: boolean;
}

/** The options of a command, by name. */
export type Options<Flags> = {
  readonly [Name in keyof Flags]-?: OptionOf<Exclude<Flags[Name], undefined>>;
};
type OptionOf<T> = [T] extends [boolean] ? Switch : Value<T>;

/** The arguments of a command. One that is repeated becomes an array. */
type Arguments<Args extends readonly unknown[]> = {
  readonly [I in keyof Args]-?: ArgumentOf<Exclude<Args[I], undefined>>;
};
type ArgumentOf<T> = [T] extends [readonly (infer Each)[]]
  ? Argument<Each> & { readonly isRepeated: true }
  : Argument<T>;

/** The file of a command. Its exit code is 0 by default. */
interface CommandModule {
  run(flags: never, ...args: never[]): Promise<number | void>;
  needs?(flags: never, ...args: never[]): Needs | Promise<Needs>;
}
type Run<M extends CommandModule> = Parameters<M["run"]>;
type FlagsOf<M extends CommandModule> = Run<M>[0];
type ArgsOf<M extends CommandModule> = Run<M> extends [unknown, ...infer Args] ? Args : never;

/** A command of the table, typed by the parameters of its `run()`. */
interface Entry<M extends CommandModule> extends Docs {
  readonly options: Options<Omit<FlagsOf<M>, keyof CommonFlags>>;
  readonly args: Arguments<ArgsOf<M>>;
  /** Whether the first argument ends the options: what follows is another command line. */
  readonly stopsEarly?: boolean;
  load(): Promise<M>;
  /** Returns the Deno permissions; by default the `needs()` of the file, or none. */
  needs?(...args: Run<M>): Needs | Promise<Needs>;
}

/** A command of the table, without the types of its options and arguments. */
export interface Command extends Docs {
  readonly options: Readonly<Record<string, Switch | Value>>;
  readonly args: readonly Argument[];
  readonly stopsEarly: boolean;
  /** Returns what can be done with parsed options and arguments. */
  invoke(flags: object, args: readonly unknown[]): Invocation;
}

const COMMON: Options<CommonFlags> = {
  json: { brief: "write results, events and errors as JSON" },
  quiet: { brief: "print nothing but results and errors", letter: "q" },
};

/** Makes a command of the table. */
export function command<M extends CommandModule>(
  { options, args, stopsEarly = false, load, needs, ...docs }: Entry<M>,
): Command {
  return {
    ...docs,
    options: { ...options, ...COMMON },
    // The parser returns what `args` describes.
    args: args as unknown as readonly Argument[],
    stopsEarly,
    invoke(flags, args) {
      const all = [flags, ...args] as never as Run<M>;
      return {
        flags,
        run: async () => await (await load()).run(...all as never as [never]) ?? OK,
        needs: async () =>
          needs?.(...all) ?? (await load()).needs?.(...all as never as [never]) ?? {},
      };
    },
  };
}
