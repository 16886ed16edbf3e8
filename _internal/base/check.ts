/** Checks of arguments. Each one names a wrong argument before the system is asked for anything. */

/** The maximum number of characters of a value in a message. */
const MAX_SHOWN = 100;

/** The longest path of Linux: `PATH_MAX` of linux/limits.h. */
const PATH_MAX = 4096;

/**
 * Formats a value for a message: a string is quoted, its control characters are escaped, and a long
 * one is cut.
 */
export function show(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(shortened(value));
  if (typeof value === "function") return "a function";
  if (value instanceof Promise) return "a promise. Await it first";
  if (typeof value === "object" && value !== null) {
    if (isGenerator(value)) return "a generator";
    return Array.isArray(value) ? "an array" : `an object (${value.constructor?.name ?? "null"})`;
  }
  if (Object.is(value, -0)) return "-0";
  return typeof value === "bigint" ? `${value}n` : String(value);
}

/** Formats a path, or the URL of a file, for a message: whole, because the reader needs it. */
export function showPath(path: string | URL): string {
  return JSON.stringify(shortened(String(path), PATH_MAX));
}

/** Returns the beginning of a text, which may be of any length. */
export function shortened(text: string, most: number = MAX_SHOWN): string {
  return text.length <= most ? text : `${text.slice(0, most)}…`;
}

const { isPrototypeOf } = Object.prototype;

/** The prototypes of all generators, and of all async ones. */
const GENERATORS: readonly object[] = [
  Object.getPrototypeOf(function* () {}).prototype,
  Object.getPrototypeOf(async function* () {}).prototype,
];

/** Reports whether a value is what a generator function returns, also an async one. */
export function isGenerator(value: unknown): boolean {
  return GENERATORS.some((each) => isPrototypeOf.call(each, value as object));
}

/**
 * Throws if a function got more arguments than it takes. Otherwise an option in the wrong place
 * would be ignored.
 *
 * @param name The name of the function.
 * @param given Its `arguments`.
 * @param most The maximum number of arguments.
 * @param call An example of a correct call.
 */
export function checkArguments(name: string, given: IArguments, most: number, call: string): void {
  if (given.length <= most) return;
  const position = ["first", "second", "third", "fourth"][most] ?? `${most + 1}th`;
  throw new TypeError(
    `Unexpected ${position} argument of ${name}(): ${show(given[most])}. Call it as ${call}`,
  );
}

/**
 * Throws a `TypeError` or a `RangeError` that names the option, unless the value is a right one.
 */
export type Check = (name: string, value: unknown) => void;

/** A check for each option of an interface. A missing check and a surplus one do not compile. */
export type Checks<T> = { readonly [K in keyof Required<T>]: Check };

/**
 * Throws unless `options` is an object, and each of its properties has a check and passes it. An
 * option that is absent or `undefined` passes.
 *
 * @param call The name of the function.
 * @param options What it got.
 * @param checks A check for each option.
 */
export function checkOptions<T>(
  call: string,
  options: unknown,
  checks: Checks<T>,
): asserts options is T {
  const isObject = typeof options === "object" && options !== null;
  if (!isObject || Array.isArray(options) || options instanceof Promise) {
    throw new TypeError(`Invalid options of ${call}(): expected an object, got ${show(options)}`);
  }
  const known: Record<string, Check> = checks;
  for (const name of Object.keys(options)) {
    if (!Object.hasOwn(known, name)) {
      throw new TypeError(
        `Invalid option ${show(name)} of ${call}(): it has ${
          Object.keys(known).map(show).join(", ")
        }`,
      );
    }
  }
  for (const name of Object.keys(known)) {
    const value = (options as Record<string, unknown>)[name];
    if (value !== undefined) known[name]!(name, value);
  }
}

/** Returns the options of a call that takes a path alone, too. */
export function withPath<T>(
  options: string | URL | T,
): T | { path: string | URL; fd?: undefined } {
  // Bytes are a wrong path, not options.
  const isPath = typeof options === "string" || options instanceof URL ||
    ArrayBuffer.isView(options);
  return isPath ? { path: options as string | URL } : options;
}

/** Accepts every value: for an option that is checked where it is used first. */
export function unchecked(): void {}

/** Throws unless the value is a boolean. */
export function checkBoolean(name: string, value: unknown): void {
  if (typeof value !== "boolean") {
    throw new TypeError(`Invalid ${name}: expected true or false, got ${show(value)}`);
  }
}

/** Returns a check that accepts only these strings. */
export function oneOf(...choices: readonly string[]): Check {
  return (name, value) => {
    if (choices.includes(value as string)) return;
    throw new TypeError(
      `Invalid ${name}: expected ${choices.map(show).join(" or ")}, got ${show(value)}`,
    );
  };
}

/** Throws unless the value is a function. */
export function checkFunction(name: string, value: unknown): void {
  if (typeof value !== "function") {
    throw new TypeError(`Invalid ${name}: expected a function, got ${show(value)}`);
  }
}

/** Throws unless the value is an `AbortSignal`. */
export function checkSignal(name: string, value: unknown): void {
  if (!(value instanceof AbortSignal)) {
    throw new TypeError(`Invalid ${name}: expected an AbortSignal, got ${show(value)}`);
  }
}

/**
 * Throws unless the value is a whole number from `least` to `most`. If `least` is 0, it also
 * refuses -0, which Deno does not pass to the system.
 */
export function checkInteger(name: string, value: unknown, least: number, most: number): void {
  if (typeof value !== "number") {
    throw new TypeError(`Invalid ${name}: expected a number, got ${show(value)}`);
  }
  const isTooSmall = value < least || least === 0 && Object.is(value, -0);
  if (!Number.isSafeInteger(value) || isTooSmall || value > most) {
    const limit = most === Number.MAX_SAFE_INTEGER ? "" : ` and at most ${most}`;
    throw new RangeError(
      `Invalid ${name}: expected a whole number of at least ${least}${limit}, got ${show(value)}`,
    );
  }
}

/** Returns a check that accepts whole numbers from `least` to `most`. */
export function integer(least: number, most: number): Check {
  return (name, value) => checkInteger(name, value, least, most);
}

/** More than a packet can have: the kernel keeps twice the size of a buffer as an `int`. */
export const MAX_PACKET_BYTES = 0x3fff_0000;

/** The longest delay of a timer. A longer one would fire at once (HTML, "timer initialization"). */
export const MAX_DELAY_MS = 0x7fff_ffff;

/** Returns a check that accepts milliseconds from `least` on. `Infinity` means no limit. */
export function duration(least = 0): Check {
  return (name, value) => {
    if (value !== Infinity) checkInteger(`${name} (milliseconds)`, value, least, MAX_DELAY_MS);
  };
}

/** Throws unless the value is a whole number of at least 1. `Infinity` means no limit. */
export function checkCount(name: string, value: unknown): void {
  if (value !== Infinity) checkInteger(name, value, 1, Number.MAX_SAFE_INTEGER);
}

/** The largest user or group. To chown, the number above it means "do not change". */
const MAX_ID = 0xffff_fffe;

/** Throws unless the value is the number of a user or a group. */
export function checkId(name: string, value: unknown): void {
  checkInteger(name, value, 0, MAX_ID);
}

/** Throws unless the value is the number of a user, or a list of them. */
export function checkUsers(name: string, value: unknown): void {
  for (const uid of [value].flat()) checkInteger(name, uid ?? null, 0, 0xffff_ffff);
}

/** Throws unless the value is permission bits with which the owner can connect. */
export function checkMode(name: string, value: unknown): void {
  if (typeof value !== "number") {
    throw new TypeError(`Invalid ${name}: expected a number such as 0o600, got ${show(value)}`);
  }
  if (!Number.isInteger(value) || value < 0 || value > 0o777) {
    throw new RangeError(
      `Invalid ${name}: expected permission bits of at most 0o777, got ${
        Number.isInteger(value) && value >= 0 ? `0o${value.toString(8)}` : value
      }. Decimal 600 is 0o1130: write 0o600`,
    );
  }
  if ((value & 0o200) === 0) {
    throw new RangeError(
      `Invalid ${name}: 0o${
        value.toString(8)
      } does not let the owner write, and connecting needs ` +
        `write permission. Add 0o200`,
    );
  }
}
