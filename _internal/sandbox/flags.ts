/**
 * The arguments with which Deno runs a module in a sandbox.
 *
 * - `--cached-only` keeps imports off the network. `--deny-import` does not, for the hosts that
 *   Deno allows by default.
 * - Every permission that is not granted is denied by name: node:child_process adds `-A` where
 *   there is no permission flag. `import` is not denied, because then nothing could be imported
 *   from the cache.
 * - No configuration counts except one that the parent vouches for. With that one, Deno 2.9.6 also
 *   reads a nearer one of the module. Packages below any `node_modules` may be read whatever is
 *   denied, so Deno is kept from looking for one.
 */

import { showPath } from "../base/check.ts";
import { kindsWithout, toFlags } from "../base/deno_permissions.ts";
import { absolutePath, directoryOf, pathOfUrl } from "../base/path.ts";
import type { StartOptions } from "../child/start.ts";
import { childFdBeside } from "../descriptor/inherited_fd.ts";
import { confinement } from "./confine.ts";
import { entry, type Runtime } from "./entry.ts";

/**
 * Returns the arguments of `deno` that run a module with its permissions and no others.
 *
 * @param runtime What runs beside it, in the same process.
 */
export async function sandboxArgs(
  module: URL,
  options: StartOptions,
  runtime?: Runtime,
): Promise<string[]> {
  const { args = [], config } = options;
  const granted = grantedTo(module, options, runtime?.files);
  const flags = toFlags(granted);
  const denied = kindsWithout(granted).filter((kind) => kind !== "import");
  const settings = config === undefined ? ["--no-config"] : ["--config", pathOfUrl(config)];
  const mayRun = flags.some((flag) => flag.startsWith("--allow-run"));
  const confined = flags.includes("--allow-all")
    ? ""
    : confinement(mayRun, runtime && Math.max(runtime.fd, childFdBeside(runtime.fd)));
  const program = [entry(confined, config !== undefined, runtime), module.href, ...args];
  // Awaited last: the options count as they are at the call.
  const location = `--location=https://${await originOf(module.href)}.invalid/`;
  return [
    "run",
    "--quiet",
    "--no-prompt",
    "--cached-only",
    "--no-lock",
    "--node-modules-dir=none",
    "--vendor=false",
    location,
    ...settings,
    ...flags,
    ...denied.map((kind) => `--deny-${kind}`),
    ...program,
  ];
}

/**
 * Returns the permissions of a module: those that it was given, and read for its own directories.
 *
 * @param files What is read beside it.
 */
function grantedTo(
  module: URL,
  options: StartOptions,
  files: readonly string[] = [],
): Deno.PermissionOptionsObject {
  const { modules = [directoryOf(absolutePath(pathOfUrl(module)))], permissions } = options;
  const directories = [
    ...modules.map((entry) => absolutePath(entry instanceof URL ? pathOfUrl(entry) : entry)),
    ...files,
  ];
  const comma = directories.find((directory) => directory.includes(","));
  if (comma !== undefined) {
    throw new TypeError(
      `Cannot start ${showPath(module)}: the directory ${
        showPath(comma)
      } that it is to read has a ` +
        `comma, which deno's flags have no escape for. Move the module`,
    );
  }
  const given = typeof permissions === "object" ? absolute(permissions) : {};
  if (given.read === true) return given;
  return {
    ...given,
    read: Array.isArray(given.read) ? [...directories, ...given.read] : directories,
  };
}

/**
 * Resolves the paths of permissions in this process's directory: the child may have another one.
 */
function absolute(permissions: Deno.PermissionOptionsObject): Deno.PermissionOptionsObject {
  const entries = Object.entries(permissions).map(([kind, value]) => {
    if (!Array.isArray(value)) return [kind, value];
    const isPath = (entry: unknown): entry is string =>
      typeof entry === "string" &&
      (["read", "write", "ffi"].includes(kind) || kind === "run" && entry.includes("/"));
    return [kind, value.map((entry) => isPath(entry) ? absolutePath(entry) : entry)];
  });
  return Object.fromEntries(entries);
}

/** Returns a host name of the module's own: Deno keeps storage apart by it. */
async function originOf(href: string): Promise<string> {
  const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(href));
  return `uds-${new Uint8Array(hash, 0, 16).toHex()}`;
}
