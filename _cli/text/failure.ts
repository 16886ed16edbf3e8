/** The messages of failures: of the system, and of the library with the remedies of a command. */

import { messageOf } from "../../_internal/base/failure.ts";

/**
 * Returns a failure of the system, of the same class, that begins with what was tried.
 *
 * @param attempt What was tried, such as `Cannot read "c.pem"`.
 * @param cause What Deno threw.
 */
export function failure(attempt: string, cause: Error): Error {
  const state = cause.message.replace(/ \(os error \d+\).*$/s, "");
  return new (cause.constructor as ErrorConstructor)(`${attempt}: ${state}`, { cause });
}

/** Does some work. If it fails, throws a {@linkcode failure} of the attempt. */
export async function explained<T>(attempt: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw failure(attempt, error as Error);
  }
}

/** Remedies of the library that name its options, and those of the command line. */
const REMEDIES: readonly [RegExp, string][] = [
  [/(it imports "([^"\n]*)\/[^"\n]*", .*)pass modules: \[.*\]/, '$1pass --allow "read=$2"'],
  [/pass permissions: \{ import: \["([^"\n]*)"\] \}/, "pass --allow import=$1"],
  [/pass config: new URL\([^)\n]*\)/, "pass --config deno.json"],
  [/Raise startTimeout, or await/, "Await"],
  [/Raise (?:maxBytes of the codec|maxPacketBytes)$/, "No option raises it"],
];

/** Returns the message of an error, with the remedy that a command has. */
export function commandMessage(error: unknown): string {
  return REMEDIES.reduce((text, [remedy, flag]) => text.replace(remedy, flag), messageOf(error));
}
