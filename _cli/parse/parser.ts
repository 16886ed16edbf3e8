/** A parser of the options and arguments of a command, as the table describes them. */

import { UsageError } from "../exit_codes.ts";
import { didYouMean } from "../text/suggestion.ts";
import type { Command, Switch, Value } from "./command.ts";
import { InvalidValue } from "./parameters.ts";

/** What is asked for instead of running a command. */
export type Request = "help" | "version";

/** The options that every command has for that, by their spellings. */
export const REQUESTS: ReadonlyMap<string, Request> = new Map([
  ["--help", "help"],
  ["-h", "help"],
  ["--version", "version"],
  ["-V", "version"],
]);

/** The options and arguments of a command line. */
export interface Parsed {
  readonly flags: object;
  readonly args: readonly unknown[];
}

/** The options of a command, by each spelling. */
type Spellings = ReadonlyMap<string, { name: string; option: Switch | Value }>;

/**
 * Parses what follows the name of a command.
 *
 * - Options may stand between arguments; `--` ends them. `--name=VALUE`, `--name VALUE`, `-n
 *   VALUE`, `-nVALUE` and `-n=VALUE` mean the same. Letters without values may share one "-".
 * - A request for the help or the version wins over any mistake beside it.
 *
 * @throws {UsageError} when the command line is wrong.
 */
export function parseOptions(
  name: string,
  command: Command,
  words: readonly string[],
): Parsed | Request {
  const known = spellingsOf(command);
  const isValue = (i: number) => known.get(words[i - 1] ?? "")?.option.parse !== undefined;
  const end = words.findIndex((word, i) =>
    word === "--" || command.stopsEarly && !word.startsWith("-") && !isValue(i)
  );
  const own = end < 0 ? words : words.slice(0, end);
  const rest = end < 0 ? [] : words.slice(words[end] === "--" ? end + 1 : end);
  const requested = own.find((word) => REQUESTS.has(word));
  if (requested !== undefined) return REQUESTS.get(requested) as Request;
  const { flags, operands } = parseFlags(own, known);
  return { flags, args: parseArguments([...operands, ...rest], name, command) };
}

/** Returns the options of a command by their spellings. */
function spellingsOf({ options }: Command): Spellings {
  return new Map(
    Object.entries(options).flatMap(([name, option]) => {
      const letters = option.letter === undefined ? [] : [`-${option.letter}`];
      return [`--${name}`, ...letters].map((spelling) => [spelling, { name, option }] as const);
    }),
  );
}

/** Parses options, and returns the other words as operands. */
function parseFlags(
  words: readonly string[],
  known: Spellings,
): { flags: object; operands: string[] } {
  const flags = new Map<string, unknown>();
  const operands: string[] = [];
  const queue = words.flatMap((word) => splitLetters(word, known));
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (!/^-./.test(word)) {
      operands.push(word);
      continue;
    }
    const [, spelling, inline] = word.match(/^(-[a-z]|--[a-z][a-z-]+)(?:=(.*))?$/is) ?? [];
    const found = known.get(spelling ?? "");
    if (found === undefined) throw new UsageError(unknownOption(word, spelling, known));
    const { name, option } = found;
    if (flags.has(name)) throw new UsageError(`unexpected second --${name}`);
    if (option.parse === undefined) {
      if (inline !== undefined) {
        throw new UsageError(`unexpected value of --${name}: ${JSON.stringify(inline)}`);
      }
      flags.set(name, true);
      continue;
    }
    // An option of the command is not the value of another one.
    const isNextOption = known.has(queue[0]?.replace(/=.*$/s, "") ?? "");
    const value = inline ?? (isNextOption ? undefined : queue.shift());
    if (value === undefined || inline === "") {
      throw new UsageError(`missing value: --${name} ${option.placeholder}`);
    }
    flags.set(name, parseValue(`--${name}`, option.parse, value));
  }
  return { flags: Object.fromEntries(flags), operands };
}

/** Splits letters that share one "-", and a value from its letter. */
function splitLetters(word: string, known: Spellings): string[] {
  const letter = word.slice(0, 2);
  const found = known.get(letter);
  if (found === undefined || word.length < 3 || word[2] === "=") return [word];
  const rest = word.slice(2);
  if (found.option.parse !== undefined) return [letter, rest];
  // What only looks like letters is refused as a whole.
  return /^[a-z]/i.test(rest) ? [letter, ...splitLetters(`-${rest}`, known)] : [word];
}

function unknownOption(word: string, spelling: string | undefined, known: Spellings): string {
  if (spelling === undefined) {
    return `unknown option ${JSON.stringify(word)}. ` +
      `Write -- before an argument that begins with "-"`;
  }
  const names = [...known.keys(), "--help"].filter((name) => name.startsWith("--"));
  return `unknown option ${spelling}${didYouMean(spelling, names)}`;
}

/** Parses the arguments that are not options. */
function parseArguments(
  words: readonly string[],
  name: string,
  { args, usage }: Command,
): unknown[] {
  const missing = args.filter(({ isOptional }) => !isOptional)[words.length];
  if (missing !== undefined) {
    throw new UsageError(`missing ${missing.noun ?? missing.placeholder}: uds ${name} ${usage}`);
  }
  if (words.length > args.length && !args.at(-1)?.isRepeated) {
    throw new UsageError(`unexpected argument ${JSON.stringify(words[args.length])}`);
  }
  return args.map(({ placeholder, parse, isRepeated }, i) => {
    const values = words.slice(i, isRepeated ? undefined : i + 1).map((word) =>
      parseValue(placeholder, parse, word)
    );
    return isRepeated ? values : values[0];
  });
}

function parseValue(name: string, parse: (value: string) => unknown, value: string): unknown {
  try {
    return parse(value);
  } catch (error) {
    if (error instanceof InvalidValue) throw new UsageError(`${name} ${error.message}`);
    throw error;
  }
}
