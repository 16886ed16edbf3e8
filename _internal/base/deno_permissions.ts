/**
 * Deno permissions: which of a set are missing, and the flags to add.
 *
 * Every permission is queried before Deno's own API is called. Otherwise that call would stop the
 * program with a prompt if standard input is a terminal. The queries take a quarter of the time of
 * a `connect()`, which therefore calls {@linkcode mayPrompt} first.
 */

import { faultOfUrl, pathOfUrl } from "./path.ts";
import { show, showPath } from "./check.ts";

/** A kind of permission and its scope: `true` for everything. */
type Grant = [kind: string, value: boolean | "inherit" | (string | URL)[]];

/** The property of a permission descriptor that scopes each kind. */
const SCOPES: Record<string, string> = {
  read: "path",
  write: "path",
  ffi: "path",
  net: "host",
  import: "host",
  env: "variable",
  sys: "kind",
  run: "command",
};

/** All kinds of permission. Only `--allow-all` grants them together. */
export const ALL_PERMISSIONS: Readonly<Deno.PermissionOptionsObject> = Object.fromEntries(
  Object.keys(SCOPES).map((kind) => [kind, true]),
);

/** Returns the kinds of permission of which a set grants nothing. */
export function kindsWithout(set: Deno.PermissionOptionsObject): string[] {
  const given = set as Record<string, Grant[1] | undefined>;
  return Object.keys(SCOPES).filter((kind) => {
    const value = given[kind];
    return value === undefined || value === false || Array.isArray(value) && value.length === 0;
  });
}

/** Reports whether a permission is granted, without a prompt. */
export function isGranted(kind: string, value?: string | URL): boolean {
  return stateOf(kind, value) === "granted";
}

let isTerminal: boolean | undefined;

/** Reports whether Deno would prompt for a missing permission: it does so only on a terminal. */
export function mayPrompt(): boolean {
  return isTerminal ??= Deno.stdin.isTerminal();
}

function stateOf(kind: string, value?: string | URL): Deno.PermissionState {
  const descriptor = value === undefined
    ? { name: kind }
    : { name: kind, [SCOPES[kind] as string]: value };
  return Deno.permissions.querySync(descriptor as Deno.PermissionDescriptor).state;
}

/** Writes a set of permissions as flags for `deno run`. */
export function toFlags(set: Deno.PermissionOptionsObject): string[] {
  const given = set as Record<string, Grant[1]>;
  if (Object.keys(SCOPES).every((kind) => given[kind] === true)) return ["--allow-all"];
  return (Object.entries(set) as Grant[]).flatMap(([kind, value]) => {
    if (!Object.hasOwn(SCOPES, kind)) {
      throw new TypeError(
        `Cannot write the permission ${show(kind)} as a flag: there are ${
          Object.keys(SCOPES).join(", ")
        }`,
      );
    }
    if (value === undefined) return [];
    if (value === "inherit") {
      throw new TypeError(`Cannot write the permission ${kind}: "inherit" as a flag`);
    }
    if (typeof value === "boolean") return value ? [`--allow-${kind}`] : [];
    const entries = value.map((entry) => entry instanceof URL ? pathOf(kind, entry) : entry);
    const comma = entries.find((entry) => entry.includes(","));
    if (comma !== undefined) {
      throw new TypeError(
        `Cannot write the permission ${kind} for ${
          showPath(comma)
        } as a flag: it has a comma, which ` +
          `deno has no escape for. Use a permission set in deno.json and deno run -P`,
      );
    }
    return entries.length > 0 ? [`--allow-${kind}=${entries.join(",")}`] : [];
  });
}

/** The path of a `file:` URL: no other one has one that could be granted. */
function pathOf(kind: string, url: URL): string {
  const fault = faultOfUrl(url);
  if (fault === undefined) return pathOfUrl(url);
  throw new TypeError(
    `Cannot write the permission ${kind} for ${showPath(url.href)} as a flag: ${fault}`,
  );
}

/** Reports whether all of a set is granted, without a prompt. */
export function areGranted(set: Deno.PermissionOptionsObject): boolean {
  return Object.keys(missingOf(set)).length === 0;
}

/** Returns the part of a set of permissions that is not granted. */
function missingOf(set: Deno.PermissionOptionsObject): Deno.PermissionOptionsObject {
  const missing: [string, true | (string | URL)[]][] = [];
  for (const [kind, value] of Object.entries(set) as Grant[]) {
    if (value === true && !isGranted(kind)) missing.push([kind, true]);
    if (!Array.isArray(value)) continue;
    const entries = value.filter((entry) => !isGranted(kind, entry));
    if (entries.length > 0) missing.push([kind, entries]);
  }
  return Object.fromEntries(missing);
}

/**
 * Throws `NotCapable`, which names the flags to add, unless every permission of the set is granted.
 *
 * @param attempt The beginning of the message: `Cannot connect to "/run/app.sock"`.
 * @param set The permissions that are needed.
 * @param fields The fields of the error.
 * @param isRefused Whether Deno itself has refused already. It then reports every missing
 * permission as denied, with or without a flag.
 */
export function requireGrants(
  attempt: string,
  set: Deno.PermissionOptionsObject,
  fields: { operation: string; path: string | null },
  isRefused = false,
): void {
  const missing = missingOf(set);
  if (Object.keys(missing).length === 0) return;
  // If Deno asks for all of them, some kinds alone would not help.
  const wanted = toFlagsOrNames(Object.values(set).every((v) => v === true) ? set : missing);
  const flag = isRefused
    ? " (and without a --deny flag, if one takes it away)"
    : ", and without the --deny flag that takes it away";
  const denied = isDenied(missing) ? flag : "";
  const error = new Deno.errors.NotCapable(
    `${attempt}: a Deno permission is missing. Run again with ${wanted}${denied}`,
  );
  throw Object.assign(error, fields);
}

/**
 * Reports whether a flag denies a permission of a set. Another flag that grants it would not help.
 */
function isDenied(set: Deno.PermissionOptionsObject): boolean {
  return (Object.entries(set) as Grant[]).some(([kind, value]) =>
    Array.isArray(value)
      ? value.some((entry) => stateOf(kind, entry) === "denied")
      : stateOf(kind) === "denied"
  );
}

/**
 * Returns the flags. If a comma makes them impossible, returns the permission set for `deno.json`.
 */
function toFlagsOrNames(set: Deno.PermissionOptionsObject): string {
  try {
    return toFlags(set).join(" ");
  } catch {
    return `-P and "permissions": ${JSON.stringify({ default: set })} in deno.json`;
  }
}

/**
 * Returns the permissions for `pair()`.
 *
 * @param command A program, or the URL of a module.
 * @param clearEnv Whether the child gets none of this process's environment.
 */
export function pairPermissions(
  command: string | URL,
  clearEnv: boolean = command instanceof URL,
): Deno.PermissionOptionsObject {
  return {
    run: [command instanceof URL ? Deno.execPath() : command],
    // node:child_process reads this variable whatever environment it is given.
    env: clearEnv ? ["NODE_V8_COVERAGE"] : true,
  };
}
