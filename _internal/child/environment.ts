/** The environment that a child gets from this process. */

import type { ErrorContext } from "../base/error_context.ts";

/** Returns the variables of this process, and those of `env`, which win. */
export function withOwnVariables(
  context: ErrorContext<null>,
  env: Record<string, string>,
): Record<string, string> {
  // Deno leaves out a variable that is not UTF-8. Without its PATH the child would find no program.
  if (env["PATH"] === undefined) ownVariable(context, "PATH");
  return { ...Deno.env.toObject(), ...env };
}

/** Returns a variable of this process. Throws if it is not UTF-8. */
export function ownVariable(context: ErrorContext<null>, name: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.InvalidData)) throw cause;
    throw context.fail(
      cause,
      `the variable ${name} is not UTF-8, and Deno cannot hand it on. Set another one, or pass ` +
        `one as env`,
    );
  }
}
