/** The mode and group of a socket file. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import type { PermissionsOptions } from "../../permissions.ts";
import type { Needs } from "./command.ts";

/** The options. */
export type OwnershipFlags = {
  readonly mode?: number;
  readonly group?: string;
};

/** The file that lists the groups. */
const GROUPS = "/etc/group";
/** The default mode with `--group`: without the bits of the group it would be useless. */
const GROUP_MODE = 0o660;

/** Returns the Deno permissions to look up the group. A number needs none. */
export function ownershipNeeds({ group }: OwnershipFlags): Needs {
  return group === undefined || /^\d+$/.test(group) ? {} : { read: [GROUPS] };
}

/** Returns the options for `permissions()`, which does not depend on the group itself. */
export function ownershipPermissions({ mode, group }: OwnershipFlags): PermissionsOptions {
  if (group === undefined) return mode === undefined ? {} : { mode };
  return { mode: mode ?? GROUP_MODE, gid: 0 };
}

/** Returns the options for `serve()`. */
export async function ownership(
  { mode, group }: OwnershipFlags,
): Promise<{ mode?: number; gid?: number }> {
  if (group === undefined) return mode === undefined ? {} : { mode };
  return { mode: mode ?? GROUP_MODE, gid: await groupId(group) };
}

async function groupId(group: string): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group);
  requireGrants("Cannot look up a group", ownershipNeeds({ group }), {
    operation: "serve",
    path: null,
  });
  for (const line of (await Deno.readTextFile(GROUPS)).split("\n")) {
    const [name, , id] = line.split(":");
    if (name === group && id !== undefined) return Number(id);
  }
  throw new TypeError(
    `Cannot use the group ${JSON.stringify(group)}: ${GROUPS} does not list it. Give its number`,
  );
}
