/** Reading the arguments of a command. */

import { parseArgs, type ParseArgsConfig } from "node:util";
import type { SocketPath } from "../address.ts";

/** The command was called the wrong way. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The values of options, and the positional arguments, of which there must be as many as names. */
export function parse<const T extends NonNullable<ParseArgsConfig["options"]>>(
  args: string[],
  options: T,
  names: readonly string[],
): { values: Partial<Record<keyof T, string>>; positionals: string[] } {
  let parsed;
  try {
    parsed = parseArgs({ args, options, allowPositionals: true, strict: true });
  } catch (error) {
    const text = (error as Error).message;
    throw new UsageError(text.charAt(0).toLowerCase() + text.slice(1));
  }
  const { positionals } = parsed;
  const missing = names[positionals.length];
  if (missing !== undefined) throw new UsageError(`${missing} is missing`);
  const extra = positionals[names.length];
  if (extra !== undefined) throw new UsageError(`there is one argument too many: ${show(extra)}`);
  return { values: parsed.values as Partial<Record<keyof T, string>>, positionals };
}

/** A path as the command line writes it: `@name` is the abstract name. */
export function socketPath(argument: string): SocketPath {
  return argument.startsWith("@") ? `\0${argument.slice(1)}` : argument;
}

/** Permission bits in octal, such as `600`. */
export function octalMode(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  if (!/^(0o?)?[0-7]{3}$/.test(value)) {
    throw new UsageError(`--mode takes three octal digits, such as 600, and not ${show(value)}`);
  }
  return Number.parseInt(value.replace(/^0o/, ""), 8);
}

/** A whole number of at least one. */
export function positive(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!/^\d+$/.test(value) || !Number.isSafeInteger(number) || number < 1) {
    throw new UsageError(
      `${option} takes a whole number of at least 1, and not ${show(value)}`,
    );
  }
  return number;
}

function show(value: string): string {
  return JSON.stringify(value);
}
