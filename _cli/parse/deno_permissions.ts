/** Deno permissions: what a command needs beside what the package asks for itself. */

import { permissionFlags } from "../../permissions.ts";

/** The property of a permission descriptor that scopes each kind. */
const SCOPES = {
  read: "path",
  write: "path",
  net: "host",
  env: "variable",
  sys: "kind",
  run: "command",
} as const;

/** Whether a permission is granted, without asking for it. */
export function isGranted(kind: string, value?: string): boolean {
  const scope = value === undefined ? {} : { [SCOPES[kind as keyof typeof SCOPES]]: value };
  const descriptor = { name: kind, ...scope } as Deno.PermissionDescriptor;
  return Deno.permissions.querySync(descriptor).state === "granted";
}

/** Throws unless all of a set is granted: Deno itself would ask on a terminal. */
export function requireGrants(attempt: string, set: Deno.PermissionOptionsObject): void {
  const missing: Record<string, true | string[]> = {};
  for (const [kind, value] of Object.entries(set) as [string, true | string[]][]) {
    if (value === true) {
      if (!isGranted(kind)) missing[kind] = true;
      continue;
    }
    const values = value.filter((one) => !isGranted(kind, one));
    if (values.length > 0) missing[kind] = values;
  }
  if (Object.keys(missing).length === 0) return;
  // Some kinds alone would not help where Deno asks for all of them.
  const isAll = Object.values(set).every((value) => value === true);
  const wanted = isAll ? set : missing as Deno.PermissionOptionsObject;
  throw new Deno.errors.NotCapable(
    `${attempt}: a Deno permission is missing. Run again with ${permissionFlags(wanted).join(" ")}`,
  );
}

/** Everything that is in one of the sets. */
export function union(sets: Deno.PermissionOptionsObject[]): Deno.PermissionOptionsObject {
  const all: Record<string, true | string[]> = {};
  for (
    const [kind, value] of sets.flatMap((set) => Object.entries(set)) as [string, true | string[]][]
  ) {
    const before = all[kind] ?? [];
    all[kind] = value === true || before === true ? true : [...new Set([...before, ...value])];
  }
  return all as Deno.PermissionOptionsObject;
}
