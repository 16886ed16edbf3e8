/** The stack of an error that leaves a public function. */

import { isSocketError } from "../../errors.ts";
import { handled } from "./rejection.ts";
import { readThrown } from "./thrown.ts";

/** Where this package is. */
const ROOT = decoded(new URL("../..", import.meta.url).href);

/** The directories of its code. Other code of it is in {@linkcode ROOT} itself. */
const CODE = /^(?:(?:_internal|framing|native|rpc)\/|[^/]*$)/;

/** A function of this package. */
type Called = (...args: never[]) => unknown;

/**
 * Cuts the stack of an error, so that it begins where a public function was called. Returns the
 * error.
 *
 * - Deno prints the first line of the stack of an uncaught error. That line should be the caller's.
 * - An error without the shape of this package keeps its stack: it may be a fault of ours.
 * - If nothing awaits the function, no caller is known. A stack with only our own lines is emptied.
 * - The program may have its own `Error.prepareStackTrace`, which may fail. The stack then stays.
 *
 * @param called The public function, which must be running or awaited.
 * @param error What it throws.
 * @param inner What counts if `called` is not in the stack: the first of these that is.
 */
export function seenFrom(called: Called, error: unknown, ...inner: Called[]): unknown {
  if (isSocketError(error) || readThrown(() => isOfArguments(error), false)) {
    readThrown(() => cut(error as Error, [called, ...inner]), undefined);
  }
  return error;
}

/** Cuts the stack of an error at the first of these functions that is in it. */
function cut(error: Error, functions: Called[]): void {
  for (const each of functions) {
    const nearest = callers(each, 1);
    if (nearest.length === 0) continue;
    // Other code may have called the function through ours. Mostly the nearest place is enough.
    const hasCaller = hasOthers(nearest) || hasOthers(callers(each, MAX_PLACES));
    return Error.captureStackTrace(error, hasCaller ? each : absent);
  }
  if (!hasOthers(filesOf(error))) Error.captureStackTrace(error, absent);
}

/** The maximum number of places to look for one of other code. */
const MAX_PLACES = 20;

/** A function that never runs: a stack that begins at its caller is empty. */
function absent(): void {}

/** The file of a place, at the end of a line of a stack: in parentheses behind a function. */
const FILE = /(?:^(?:async )?|\()([a-z]+:.*?):\d+:\d+\)?$/;

/** Returns the files of the lines of a stack: empty where a place has none. */
function filesOf({ stack }: { stack?: unknown }): string[] {
  const [, ...lines] = typeof stack === "string" ? stack.split("\n    at ") : [];
  return lines.map((line) => decoded(FILE.exec(line)?.[1] ?? ""));
}

/** Decodes a URL. Deno decodes those in the text of a stack, and not those of its places. */
function decoded(url: string): string {
  try {
    return decodeURIComponent(url);
  } catch {
    return url;
  }
}

/** Reports whether a file is not of this package and not of Deno. No file at all counts, too. */
function hasOthers(files: string[]): boolean {
  return files.length === 0 || files.some((file) => {
    if (file.startsWith(ROOT)) return !CODE.test(file.slice(ROOT.length));
    return file !== "" && !/^(?:ext|node):/.test(file);
  });
}

/** How the errors of wrong arguments begin. */
const OF_ARGUMENTS = /^(Invalid|Unexpected|Cannot encode) /;

/** Reports whether this package made an error of arguments. Those of V8 begin in the same way. */
function isOfArguments(error: unknown): boolean {
  if (!(error instanceof Error) || !OF_ARGUMENTS.test(error.message)) return false;
  const [file] = filesOf(error);
  return file === undefined || file.startsWith(ROOT);
}

/**
 * Runs the body of a public function that is not asynchronous, or its checks. Their errors begin
 * where the function was called.
 *
 * @param called The public function, which is running.
 */
export function checked<T>(called: Called, body: () => T): T {
  try {
    return body();
  } catch (error) {
    throw seenFrom(called, error);
  }
}

/**
 * Returns a promise with the same result. An error has a stack that begins where the promise is
 * awaited.
 *
 * @param work What it follows.
 * @param mayBeIgnored Whether a rejection need not be awaited.
 */
export function seen<T>(work: Promise<T>, mayBeIgnored = false): Promise<T> {
  const fail = (error: unknown): never => {
    const shown = seenFrom(fail, error);
    // Not before: V8 follows a promise with one listener only.
    if (mayBeIgnored) handled(promise);
    throw shown;
  };
  const promise = work.catch(fail);
  return promise;
}

/** Returns a promise that rejects as that of {@linkcode seen}, and need not be awaited. */
export function rejectedSeen(error: unknown): Promise<never> {
  return seen(Promise.reject(error), true);
}

/** Makes methods of an object return promises as {@linkcode seen} does. */
export function showCallers<Name extends string>(
  object: Record<Name, (...args: never[]) => Promise<unknown>>,
  ...names: Name[]
): void {
  for (const name of names) {
    const method = object[name];
    object[name] = function (this: unknown, ...args) {
      return seen(method.apply(this, args));
    };
  }
}

/** How V8 makes a stack: the type of `Error` lacks it. */
type Tracing = { prepareStackTrace?: unknown; stackTraceLimit: number };

/** A place in a stack. */
type Place = { getScriptNameOrSourceURL(): string | null };

/**
 * Returns the files of those that called a function, the nearest first: none if the function is not
 * in the stack, or has no caller there. It reads no text: the texts of a whole stack take three
 * times as long as one place, and more memory.
 */
function callers(called: Called, limit: number): string[] {
  if (!Object.isExtensible(Error)) return [];
  const probe: { stack?: string[] } = {};
  const tracing = Error as Tracing;
  const { prepareStackTrace, stackTraceLimit } = tracing;
  try {
    tracing.prepareStackTrace = (_: unknown, places: Place[]) =>
      places.map((place) => decoded(place.getScriptNameOrSourceURL() ?? ""));
    tracing.stackTraceLimit = limit;
    Error.captureStackTrace(probe, called);
    return probe.stack ?? [];
  } finally {
    if (prepareStackTrace === undefined) delete tracing.prepareStackTrace;
    else tracing.prepareStackTrace = prepareStackTrace;
    tracing.stackTraceLimit = stackTraceLimit;
  }
}

/**
 * Rejects a promise, with a stack that begins where it is awaited. V8 finds that place only from an
 * async function that the promise follows. So the promise resolves to that of one that throws.
 *
 * @param resolve Resolves the promise.
 * @param error What it rejects with.
 * @param promise The promise, if its rejection need not be awaited.
 */
export function rejectSeen(
  resolve: (value: Promise<never>) => void,
  error: unknown,
  promise?: Promise<unknown>,
): void {
  const rejection = async (): Promise<never> => {
    // The promise follows this one in the next microtask.
    await undefined;
    await undefined;
    const shown = seenFrom(rejection, error);
    // Not before: V8 follows a promise with one listener only.
    handled(work);
    if (promise !== undefined) handled(promise);
    throw shown;
  };
  const work = rejection();
  // Nothing follows it if the promise was settled before.
  resolve(work);
}
