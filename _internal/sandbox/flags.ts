/**
 * How a Deno module is started as a child that may do nothing but talk to its parent.
 *
 * - The entry is a few lines of our own, which import the module by a computed specifier. Only so is
 *   every file of its graph checked against `--allow-read`: a static import with a literal specifier
 *   may read any file (`with { type: "text" }`), whatever is denied.
 * - `--cached-only` keeps imports off the network, which `--deny-import` does not for the hosts that
 *   Deno allows by default.
 * - What is not granted is denied by name, because node:child_process inserts `-A` where there is no
 *   permission flag. (But for `import`: with that denied, nothing could be imported from the cache.)
 * - No configuration counts but one that the parent vouches for. Packages below any `node_modules` may
 *   be read whatever is denied, so there is none to be found, and no `package.json`.
 * - What Deno's permissions do not guard is hidden: {@linkcode confinement}.
 * - Before the module runs, and after all of its graph has loaded, one byte comes through the socket;
 *   where loading fails, the reason comes instead. The parent knows by that which of the two it was.
 */

import { absolutePath } from "../base/path.ts";
import { kindsWithout, toFlags } from "../base/deno_permissions.ts";
import { confinement } from "./confine.ts";

/** What the child says first: the module is loaded, or why it is not. */
export const LOADED = 1;
/** Followed by the text of the error, until the end. */
export const FAILED = 0;

/** A `data:` URL of JavaScript. */
function script(text: string): string {
  return `data:text/javascript,${encodeURIComponent(text)}`;
}

/**
 * The entry. What it imports beside the module, in the same graph, runs when all of that is loaded. An
 * import map of the module's could put a file in the place of anything whose name it knows, so that has a
 * name that nobody knows before, and `node:fs` is not imported.
 */
function entry(confinement: string): string {
  const sayLoaded = script(`globalThis[Symbol.for("uds.loaded")]();//${crypto.randomUUID()}`);
  return script(`
const fs = globalThis.process.getBuiltinModule("node:fs");
const [module, ...args] = Deno.args;
Object.defineProperty(Deno, "args", { value: Object.freeze(args) });
globalThis.process.argv.splice(1, 1);
let loaded = false;
const key = Symbol.for("uds.loaded");
globalThis[key] = () => {
  loaded = true;
  delete globalThis[key];
  fs.writeSync(3, new Uint8Array([${LOADED}]));
};
const both = ${JSON.stringify(sayLoaded)};
try {
  ${confinement}
  await import("data:text/javascript," + encodeURIComponent(
    "import " + JSON.stringify(both) + "; import " + JSON.stringify(module) + ";"
  ));
} catch (error) {
  if (loaded) throw error;
  const text = new TextEncoder().encode(String(error?.message ?? error));
  fs.writeSync(3, new Uint8Array([${FAILED}, ...text.subarray(0, 60000)]));
  Deno.exit(1);
}
`);
}

/** What a module is started with. */
export interface SandboxOptions {
  module: URL;
  args: string[];
  /** Directories that the module may import from and read. */
  directories: string[];
  permissions: Deno.PermissionOptionsObject;
  /** The path of a configuration that the parent vouches for. */
  config: string | undefined;
}

/** Permissions with their paths as this process sees them: the child may have another directory. */
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

/** The arguments of `deno` that run a module with these permissions and no others. */
export async function sandboxArgs(options: SandboxOptions): Promise<string[]> {
  const { module, args, directories, permissions, config } = options;
  const given = absolute(permissions);
  const readable = Array.isArray(given.read) ? [...directories, ...given.read] : directories;
  const granted = { ...given, read: given.read === true ? true : readable };
  const flags = toFlags(granted);
  const name = new TextEncoder().encode(module.href);
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", name));
  const origin = `uds-${hash.subarray(0, 16).toHex()}`;
  return [
    "run",
    "--quiet",
    "--no-prompt",
    "--cached-only",
    "--no-lock",
    "--node-modules-dir=none",
    "--vendor=false",
    `--location=https://${origin}.invalid/`,
    ...(config === undefined ? ["--no-config"] : ["--config", config]),
    ...flags,
    ...kindsWithout(granted).filter((kind) => kind !== "import").map((kind) => `--deny-${kind}`),
    entry(
      flags.includes("--allow-all")
        ? ""
        : confinement(flags.some((flag) => flag.startsWith("--allow-run"))),
    ),
    module.href,
    ...args,
  ];
}
