/** A parser of the options and arguments of a command, as its table describes them. */

import type { Command, Parameters } from "./command.ts";
import { InvalidValue } from "./parameters.ts";
import { UsageError } from "../io/reporter.ts";

/** The commands whose arguments are a command line: what follows its first word is not for uds. */
const PASSING_ON = ["permissions", "run"];

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

/**
 * Parses what follows the name of a command.
 *
 * - Options may stand between arguments; `--` ends them. `--name=VALUE`, `--name VALUE`, `-n VALUE`,
 *   `-nVALUE` and `-n=VALUE` are the same, and letters without values may share one "-".
 * - A request for the help or the version wins over what is wrong beside it.
 *
 * @throws {UsageError} when the command line is wrong.
 */
export function parseOptions(
  name: string,
  { parameters }: Command,
  words: readonly string[],
): Parsed | Request {
  const refuse = (message: string): never => {
    throw new UsageError(message, name);
  };
  const end = words.findIndex((word) =>
    word === "--" || PASSING_ON.includes(name) && !word.startsWith("-")
  );
  const own = end < 0 ? words : words.slice(0, end);
  const rest = end < 0 ? [] : words.slice(words[end] === "--" ? end + 1 : end);
  const requested = own.find((word) => REQUESTS.has(word));
  if (requested !== undefined) return REQUESTS.get(requested) as Request;

  // Without a prototype: "constructor" is not an option of every command.
  const flags: Record<string, unknown> = Object.create(null);
  const operands: string[] = [];
  const queue = own.flatMap((word) => splitLetters(word, parameters));
  for (let word = queue.shift(); word !== undefined; word = queue.shift()) {
    if (!/^-./.test(word)) {
      operands.push(word);
      continue;
    }
    const [, spelling, inline] = word.match(/^(-[a-z]|--[a-z][a-z-]+)(?:=(.+))?$/is) ?? [];
    if (spelling === undefined) {
      return refuse(
        `there is no option ${
          JSON.stringify(word)
        }. Write -- before an argument that begins with "-"`,
      );
    }
    const option = optionName(spelling, parameters);
    const parameter = option === undefined ? undefined : parameters.flags[option];
    if (option === undefined || parameter === undefined) {
      return refuse(`there is no option ${spelling}${suggestOption(spelling, parameters)}`);
    }
    if (option in flags) refuse(`--${option} is there twice`);
    if (parameter.kind === "boolean") {
      if (inline !== undefined) {
        refuse(`--${option} takes no value, and not ${JSON.stringify(inline)}`);
      }
      flags[option] = true;
      continue;
    }
    const isMissing = inline === undefined &&
      (queue[0] === undefined || isOption(queue[0], parameters));
    if (isMissing) refuse(`--${option} has no value`);
    const value = inline ?? queue.shift() as string;
    if (parameter.kind === "parsed") {
      flags[option] = parseValue(`--${option}`, parameter.parse, value, refuse);
    } else if (parameter.values.includes(value)) {
      flags[option] = value;
    } else {
      const values = parameter.values.join(", ");
      refuse(`--${option} takes ${values}, and not ${JSON.stringify(value)}`);
    }
  }
  return { flags: { ...flags }, args: parseArguments([...operands, ...rest], parameters, refuse) };
}

/** Parses the arguments that are not options. */
function parseArguments(
  words: readonly string[],
  { positional }: Parameters,
  refuse: (message: string) => never,
): unknown[] {
  const isList = positional.kind === "array";
  const each = isList
    ? Array.from(
      { length: Math.max(words.length, positional.minimum ?? 0) },
      () => positional.parameter,
    )
    : positional.parameters;
  const missing = each[words.length];
  if (missing !== undefined && !missing.optional) refuse(`${missing.placeholder} is missing`);
  if (words.length > each.length) {
    refuse(`there is one argument too many: ${JSON.stringify(words[each.length])}`);
  }
  return words.map((word, i) => parseValue(each[i]!.placeholder, each[i]!.parse, word, refuse));
}

function parseValue(
  name: string,
  parse: (value: string) => unknown,
  value: string,
  refuse: (message: string) => never,
): unknown {
  try {
    return parse(value);
  } catch (error) {
    if (error instanceof InvalidValue) refuse(`${name} ${error.message}`);
    throw error;
  }
}

/** Takes letters apart that share one "-", and a value that follows its letter. */
function splitLetters(word: string, parameters: Parameters): string[] {
  const letter = word.slice(0, 2);
  const option = optionName(letter, parameters);
  if (word.length < 3 || word[2] === "=" || option === undefined) return [word];
  const rest = word.slice(2);
  if (parameters.flags[option]?.kind !== "boolean") return [letter, rest];
  // What only looks like letters is refused as a whole.
  return /^[a-z]/i.test(rest) ? [letter, ...splitLetters(`-${rest}`, parameters)] : [word];
}

/** The name of the option that a spelling stands for. */
function optionName(spelling: string, { flags, aliases }: Parameters): string | undefined {
  if (!spelling.startsWith("--")) {
    const letter = spelling[1] ?? "";
    return Object.hasOwn(aliases, letter) ? aliases[letter] : undefined;
  }
  const name = spelling.slice(2);
  return Object.hasOwn(flags, name) ? name : undefined;
}

/** Whether a word is an option of the command, and so is not the value of another one. */
function isOption(word: string, parameters: Parameters): boolean {
  return word.startsWith("-") && optionName(word.replace(/=.*$/s, ""), parameters) !== undefined;
}

function suggestOption(spelling: string, { flags }: Parameters): string {
  if (!spelling.startsWith("--")) return "";
  return suggestion(spelling, [...Object.keys(flags).map((name) => `--${name}`), "--help"]);
}

/** The most changes between a word and one that it may have been meant for. */
const MOST_CHANGES = 2;

/** A question after a word that is not known: whether it was meant for one of those that are. */
export function suggestion(word: string, known: readonly string[]): string {
  const near = known.map((name) => [name, changes(word, name)] as const)
    .filter(([, count]) => count <= MOST_CHANGES)
    .sort(([, a], [, b]) => a - b)
    .map(([name]) => name);
  return near.length === 0 ? "" : `. Is it ${near.join(" or ")}?`;
}

/** How many letters are to be inserted, removed, replaced or exchanged with the next one. */
function changes(from: string, to: string): number {
  const rows = [Array.from({ length: to.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= from.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= to.length; j++) {
      const isSame = from[i - 1] === to[j - 1];
      row[j] = Math.min(
        rows[i - 1]![j]! + 1,
        row[j - 1]! + 1,
        rows[i - 1]![j - 1]! + (isSame ? 0 : 1),
        from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]
          ? rows[i - 2]![j - 2]! + 1
          : Infinity,
      );
    }
  }
  return rows.at(-1)!.at(-1)!;
}
