/** A command: its options and arguments, what it needs, and how it is called. */

import type { Docs } from "./help.ts";
import type { CommonFlags } from "../io/reporter.ts";

/** A command line that has been understood. */
export interface Invocation {
  /** Loads the command and runs it; gives the exit code. */
  run(): Promise<number>;
  /** The Deno permissions that it takes. */
  needs(): Promise<Deno.PermissionOptionsObject>;
}

/** An option without a value. */
export interface Switch {
  readonly kind: "boolean";
  readonly brief: string;
}

/** An option with a value. */
export interface ValueOption<T = unknown> {
  readonly kind: "parsed";
  readonly parse: (value: string) => T;
  readonly placeholder: string;
  readonly brief: string;
}

/** An option with one of some values. */
export interface ChoiceOption<T = unknown> {
  readonly kind: "enum";
  readonly values: readonly T[];
  readonly placeholder: string;
  readonly brief: string;
}

/** The options of a command, by name. */
export type Options<Flags> = {
  readonly [Name in keyof Flags]-?: OptionOf<Exclude<Flags[Name], undefined>>;
};
type OptionOf<T> = [T] extends [boolean] ? Switch : ValueOption<T> | ChoiceOption<T>;

/** The options that letters stand for. */
export type Letters<Flags> = Readonly<Record<string, keyof Flags & string>>;

/** An argument that is not an option. */
export interface Argument<T = unknown> {
  readonly parse: (value: string) => T;
  readonly placeholder: string;
  readonly brief: string;
  readonly optional?: boolean;
}

/** A list of arguments, each with a meaning of its own, or any number of the same kind. */
type Arguments<Args extends readonly unknown[]> = number extends Args["length"] ? {
    readonly kind: "array";
    readonly parameter: Argument<Args[number]>;
    readonly minimum?: number;
  }
  : {
    readonly kind: "tuple";
    readonly parameters: { readonly [I in keyof Args]-?: Argument<Exclude<Args[I], undefined>> };
  };

/** The options and arguments of a command. */
export interface Parameters {
  readonly flags: Readonly<Record<string, Switch | ValueOption | ChoiceOption<string>>>;
  readonly aliases: Readonly<Record<string, string>>;
  readonly positional:
    | { readonly kind: "array"; readonly parameter: Argument; readonly minimum?: number }
    | { readonly kind: "tuple"; readonly parameters: readonly Argument[] };
}

/** A command of the table, whatever its options and arguments are. */
export interface Command extends Docs {
  readonly parameters: Parameters;
  /** What is called when the options and arguments have been understood. */
  invoke(flags: object, args: readonly unknown[]): Invocation;
}

type AllFlags = CommonFlags & Readonly<Record<string, unknown>>;
type Needs = Deno.PermissionOptionsObject;

/** A command with the types of its options and arguments. */
interface TypedCommand<Flags extends AllFlags, Args extends readonly unknown[]> extends Docs {
  parameters: {
    readonly flags: Options<Flags>;
    readonly aliases: Letters<Flags>;
    readonly positional: Arguments<Args>;
  };
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
    parameters: parameters as unknown as Parameters,
    invoke: (flags, args) => ({
      run: async () => await (await load())(flags as Flags, ...args as unknown as Args),
      needs: async () => await needs(flags as Flags, ...args as unknown as Args),
    }),
  };
}
