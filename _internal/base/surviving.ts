/** Callbacks that may fail: their failures are printed, and end nothing. */

import { CountedLines, kindOfError, printError } from "./counted_lines.ts";

/** All callbacks of the process share these lines, so that many peers cannot print more. */
let lines: CountedLines | undefined;

/** Returns a function that calls back. Prints what the callback throws, or rejects with. */
export function surviving<Args extends unknown[]>(
  callback: (...args: Args) => unknown,
): (...args: Args) => void {
  return (...args) => {
    try {
      const result = callback(...args);
      if (result instanceof Promise) result.catch((error) => print(error));
    } catch (thrown) {
      print(thrown);
    }
  };
}

/** Prints an error, and what has failed, on standard error: at most one a second of each kind. */
export function print(error: unknown, what?: string): void {
  lines ??= new CountedLines();
  lines.add(kindOfError(error), (more) => printError(error, more, what));
}
