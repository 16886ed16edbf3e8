/** Checks of arguments: a wrong one is refused by name before the system is asked for anything. */

/** Shows a value in a message: strings quoted with control characters escaped, others as they are. */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (typeof value === "function") return "a function";
  if (typeof value === "object" && value !== null) {
    return Array.isArray(value) ? "an array" : `an object (${value.constructor?.name ?? "null"})`;
  }
  return typeof value === "bigint" ? `${value}n` : String(value);
}

/**
 * Throws if a function got more arguments than it takes: an option in the wrong place would go unnoticed.
 *
 * @param name The function.
 * @param given Its `arguments`.
 * @param most How many it takes.
 * @param call How it is called.
 */
export function checkArguments(name: string, given: IArguments, most: number, call: string): void {
  if (given.length <= most) return;
  const position = ["first", "second", "third", "fourth"][most] ?? `${most + 1}th`;
  throw new TypeError(
    `Unexpected ${position} argument of ${name}(): ${show(given[most])}. Call it as ${call}`,
  );
}

/** Refuses what is no object, and options that do not exist: a misspelt one would go unnoticed. */
export function checkOptions(name: string, options: unknown, known: readonly string[]): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    throw new TypeError(`Invalid options of ${name}(): expected an object, got ${show(options)}`);
  }
  for (const key of Object.keys(options)) {
    if (!known.includes(key)) {
      throw new TypeError(
        `Invalid option ${show(key)} of ${name}(): it has ${known.map(show).join(", ")}`,
      );
    }
  }
}

/** Refuses a boolean option that is none. */
export function checkBoolean(name: string, value: unknown): void {
  if (value !== undefined && typeof value !== "boolean") {
    throw new TypeError(`Invalid ${name}: expected true or false, got ${show(value)}`);
  }
}

/** Refuses an option that is none of the values it may have. */
export function checkChoice(name: string, value: unknown, choices: readonly string[]): void {
  if (value !== undefined && !choices.includes(value as string)) {
    throw new TypeError(
      `Invalid ${name}: expected ${choices.map(show).join(" or ")}, got ${show(value)}`,
    );
  }
}

/** Refuses a function that is none. */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== "function") {
    throw new TypeError(`Invalid ${name}: expected a function, got ${show(value)}`);
  }
}

/** Refuses a signal that is none. */
export function checkSignal(value: unknown): void {
  if (value !== undefined && !(value instanceof AbortSignal)) {
    throw new TypeError(`Invalid signal: expected an AbortSignal, got ${show(value)}`);
  }
}

/** Refuses what is no whole number between `least` and `most`. */
export function checkInteger(name: string, value: unknown, least: number, most: number): void {
  if (value === undefined) return;
  if (typeof value !== "number") {
    throw new TypeError(`Invalid ${name}: expected a number, got ${show(value)}`);
  }
  if (!Number.isSafeInteger(value) || value < least || value > most) {
    const limit = most === Number.MAX_SAFE_INTEGER ? "" : ` and at most ${most}`;
    throw new RangeError(
      `Invalid ${name}: expected a whole number of at least ${least}${limit}, got ${value}`,
    );
  }
}

/** The longest delay of a timer: a longer one would fire at once (HTML, "timer initialisation"). */
export const MAX_DELAY = 0x7fff_ffff;

/** Refuses a number of milliseconds that is none; `Infinity` means no limit. */
export function checkDuration(name: string, value: unknown, least = 0): void {
  if (value !== Infinity) checkInteger(`${name} (milliseconds)`, value, least, MAX_DELAY);
}

/** Refuses a count that is none; `Infinity` means no limit. */
export function checkCount(name: string, value: unknown): void {
  if (value !== Infinity) checkInteger(name, value, 1, Number.MAX_SAFE_INTEGER);
}

/** The largest user or group: chown takes the one above it as "do not change". */
const MAX_ID = 0xffff_fffe;

/** Throws unless the value is the number of a user or a group. */
export function checkId(name: string, value: unknown): void {
  checkInteger(name, value, 0, MAX_ID);
}

/** Refuses what are no permission bits, and those with which the owner could not connect. */
export function checkMode(value: unknown): void {
  if (value === undefined) return;
  if (typeof value !== "number") {
    throw new TypeError(`Invalid mode: expected a number such as 0o600, got ${show(value)}`);
  }
  if (!Number.isInteger(value) || value < 0 || value > 0o777) {
    throw new RangeError(
      `Invalid mode: expected permission bits of at most 0o777, got ${
        Number.isInteger(value) && value >= 0 ? `0o${value.toString(8)}` : value
      }. Decimal 600 is 0o1130: write 0o600`,
    );
  }
  if ((value & 0o200) === 0) {
    throw new RangeError(
      `Invalid mode: 0o${value.toString(8)} does not let the owner write, and connecting needs ` +
        `write permission. Add 0o200`,
    );
  }
}
