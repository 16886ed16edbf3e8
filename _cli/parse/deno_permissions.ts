/** Sets of Deno permissions. */

import type { Needs } from "./command.ts";

/** Returns everything that is in one of the sets. */
export function union(sets: Needs[]): Needs {
  const all: Record<string, true | string[]> = {};
  for (
    const [kind, value] of sets.flatMap((set) => Object.entries(set)) as [string, true | string[]][]
  ) {
    const before = all[kind] ?? [];
    all[kind] = value === true || before === true ? true : [...new Set([...before, ...value])];
  }
  return all as Needs;
}
