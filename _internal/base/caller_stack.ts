/** The stack of an error that leaves a public function. */

import { isSocketError } from "../../errors.ts";
import { handled } from "./rejection.ts";

/** Where the code of this package is. */
const ROOT = new URL("../..", import.meta.url).href;

/** A function of this package. */
type Called = (...args: never[]) => unknown;

/**
 * Cuts the stack of an error, so that it begins where a public function was called. Returns the
 * error.
 *
 * - Deno prints the first line of the stack of an uncaught error. That line should be the caller's.
 * - An error without the shape of this package keeps its stack: it may be a fault of ours.
 *
 * @param called The public function, which must be running or awaited.
 * @param error What it throws.
 * @param inner What counts if `called` is not in the stack: the first of these that is. If none is
 * in the stack, the stack stays as it is.
 */
export function seenFrom(called: Called, error: unknown, ...inner: Called[]): unknown {
  if (error instanceof Error && (isSocketError(error) || isOfArguments(error))) {
    const outermost = [called, ...inner].find(isInStack);
    if (outermost !== undefined) Error.captureStackTrace(error, outermost);
  }
  return error;
}

/** How the errors of wrong arguments begin. */
const OF_ARGUMENTS = /^(Invalid|Unexpected|Cannot encode) /;

/** Reports whether this package made an error of arguments. Those of V8 begin in the same way. */
function isOfArguments(error: Error): boolean {
  if (!OF_ARGUMENTS.test(error.message)) return false;
  const [, frame] = error.stack?.split("\n    at ") ?? [];
  return frame?.includes(ROOT) === true;
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

/**
 * Reports whether a function is in the stack, with a caller below it. It reads one place of the
 * stack and no text: the texts of a whole stack take three times as long, and more memory.
 */
function isInStack(called: Called): boolean {
  if (!Object.isExtensible(Error)) return false;
  const probe: { stack?: unknown } = {};
  const tracing = Error as Tracing;
  const { prepareStackTrace, stackTraceLimit } = tracing;
  tracing.prepareStackTrace = (_: unknown, places: unknown[]) => places.length;
  tracing.stackTraceLimit = 1;
  Error.captureStackTrace(probe, called);
  const { stack } = probe;
  if (prepareStackTrace === undefined) delete tracing.prepareStackTrace;
  else tracing.prepareStackTrace = prepareStackTrace;
  tracing.stackTraceLimit = stackTraceLimit;
  return stack === 1;
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
