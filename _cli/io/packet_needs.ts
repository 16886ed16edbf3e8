/** The Deno permissions of a command on a socket of some type. */

import type { Needs } from "../parse/command.ts";
import type { TypeFlags } from "../parse/options.ts";

/**
 * Returns a set of permissions, and what the type of the socket needs besides.
 *
 * @param ofDatagrams What only datagrams need.
 */
export async function needsOfType(
  { type = "stream" }: TypeFlags,
  set: Needs,
  ofDatagrams: Needs = {},
): Promise<Needs> {
  if (type === "stream") return set;
  const { nativePermissions } = await import("../../native/native_permissions.ts");
  return { ...set, ...(type === "dgram" && ofDatagrams), ...nativePermissions() };
}
