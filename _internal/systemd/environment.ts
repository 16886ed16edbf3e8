/** The variables of a service manager. */

import { requireGrants } from "../base/deno_permissions.ts";

/** What each call cannot do without its variables, as its errors begin. */
export const ATTEMPTS = {
  listenFds: "Cannot take the descriptors of the manager",
  notify: "Cannot notify the manager",
  watchdog: "Cannot start the watchdog",
};

/** A call that reads variables. */
type Call = keyof typeof ATTEMPTS;

/** Returns variables. Throws unless this process may read them. */
export function readVariables<Name extends string>(
  operation: Call,
  names: readonly Name[],
): Record<Name, string | undefined> {
  requireGrants(ATTEMPTS[operation], { env: [...names] }, { operation, path: null });
  return Object.fromEntries(names.map((name) => [name, Deno.env.get(name) || undefined])) as Record<
    Name,
    string | undefined
  >;
}

/**
 * Returns a variable that is a whole number; `undefined` if it is not set.
 *
 * @param least The least number that a manager would set.
 * @param most The largest one.
 */
export function wholeNumber(
  operation: Call,
  name: string,
  value: string | undefined,
  least = 0,
  most: number = Number.MAX_SAFE_INTEGER,
): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= least && number <= most) return number;
  const range = least > 0
    ? ` from ${least} on`
    : most < Number.MAX_SAFE_INTEGER
    ? ` up to ${most}`
    : "";
  throw invalid(
    operation,
    `${name} must be a whole number${range}, and is ${JSON.stringify(value)}`,
  );
}

/** Returns the error of a variable that no manager would set. */
export function invalid(operation: Call, state: string): Error {
  const error = new Deno.errors.InvalidData(`${ATTEMPTS[operation]}: the variable ${state}`);
  return Object.assign(error, { operation, path: null });
}
