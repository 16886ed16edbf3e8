/** Reports what calls cannot: malformed messages, and failures of methods. */

import { andMore, CountedLines, kindOfError } from "../base/counted_lines.ts";
import type { RpcOptions } from "./options.ts";

/** All peers of the process share these lines, so that many peers cannot print more. */
let lines: CountedLines | undefined;

/** Returns a function that calls `onError`. What that throws is printed, and ends nothing. */
export function reporterFor(
  onError: NonNullable<RpcOptions["onError"]> = print,
): (error: unknown, method?: string) => void {
  return (error, method) => {
    try {
      const result: unknown = onError(error, method);
      if (result instanceof Promise) result.catch(print);
    } catch (thrown) {
      print(thrown);
    }
  };
}

function print(error: unknown): void {
  lines ??= new CountedLines();
  lines.add(kindOfError(error), (more) => {
    try {
      if (more === 0) console.error(error);
      else console.error(error, andMore(more).trim());
    } catch {
      // Standard error is closed.
    }
  });
}
