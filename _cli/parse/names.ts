/** The numbers of users and groups, by their names in the files of the system. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import type { Needs } from "./command.ts";

/** What has a name and a number. */
export type Kind = "user" | "group";

const FILES: Record<Kind, string> = { user: "/etc/passwd", group: "/etc/group" };

/** Returns the Deno permissions to look up names. Numbers need none. */
export function nameNeeds(kind: Kind, names: readonly string[] = []): Needs {
  return names.every(isNumber) ? {} : { read: [FILES[kind]] };
}

/** Returns the numbers of users or groups. */
export async function idsOf(kind: Kind, names: readonly string[] = []): Promise<number[]> {
  if (names.every(isNumber)) return names.map(Number);
  requireGrants(`Cannot look up a ${kind}`, nameNeeds(kind, names), {
    operation: "serve",
    path: null,
  });
  const lines = (await Deno.readTextFile(FILES[kind])).split("\n").map((line) => line.split(":"));
  const ids = new Map(lines.map(([name, , id]) => [name, id]));
  return names.map((name) => {
    const id = isNumber(name) ? name : ids.get(name);
    if (id !== undefined) return Number(id);
    throw new TypeError(
      `Cannot use the ${kind} ${JSON.stringify(name)}: ${
        FILES[kind]
      } does not list it. Give its number`,
    );
  });
}

function isNumber(name: string): boolean {
  return /^\d+$/.test(name);
}
