/** The mode and group of a socket file. */

import type { PermissionsOptions } from "../../permissions.ts";
import type { Needs } from "./command.ts";
import { idsOf, nameNeeds } from "./names.ts";

/** The options. */
export type OwnershipFlags = {
  readonly mode?: number | undefined;
  readonly group?: string;
};

/** The default mode with `--group`: without the bits of the group it would be useless. */
const GROUP_MODE = 0o660;

/** Returns the Deno permissions to look up the group. A number needs none. */
export function ownershipNeeds({ group }: OwnershipFlags): Needs {
  return group === undefined ? {} : nameNeeds("group", [group]);
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
  const [gid] = await idsOf("group", [group]);
  return { mode: mode ?? GROUP_MODE, gid: gid! };
}
