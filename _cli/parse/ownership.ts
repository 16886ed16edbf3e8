/** To whom the socket file of a command belongs. */

import type { PermissionsOptions } from "../../permissions.ts";
import { requireGrants } from "./deno_permissions.ts";

/** The options. */
export type OwnershipFlags = {
  readonly mode?: number;
  readonly group?: string;
};

/** Where the names of groups are. */
const GROUPS = "/etc/group";
/** Bits for a file with a group of its own: without those of the group it would be of no use. */
const GROUP_MODE = 0o660;

/** The permissions that the options take: those of a number, none. */
export function ownershipNeeds({ group }: OwnershipFlags): Deno.PermissionOptionsObject {
  return group === undefined || /^\d+$/.test(group) ? {} : { read: [GROUPS] };
}

/** The options of `permissions()` that they stand for; which group it is does not matter there. */
export function ownershipPermissions({ mode, group }: OwnershipFlags): PermissionsOptions {
  if (group === undefined) return mode === undefined ? {} : { mode };
  return { mode: mode ?? GROUP_MODE, gid: 0 };
}

/** What the options say, as those of `serve()`. */
export async function ownership(
  { mode, group }: OwnershipFlags,
): Promise<{ mode?: number; gid?: number }> {
  if (group === undefined) return mode === undefined ? {} : { mode };
  return { mode: mode ?? GROUP_MODE, gid: await groupId(group) };
}

async function groupId(group: string): Promise<number> {
  if (/^\d+$/.test(group)) return Number(group);
  requireGrants("Cannot look up a group", ownershipNeeds({ group }));
  for (const line of (await Deno.readTextFile(GROUPS)).split("\n")) {
    const [name, , id] = line.split(":");
    if (name === group && id !== undefined) return Number(id);
  }
  throw new TypeError(
    `Cannot give a socket to the group ${
      JSON.stringify(group)
    }: ${GROUPS} has none of that name. ` +
      "Give its number",
  );
}
