/** The start of a pair: a program or a module, with its environment and its standard streams. */

import { permissions } from "../../permissions.ts";
import { pathOfUrl } from "../base/path.ts";
import { ChildProcess, type ChildStdio } from "./process.ts";
import { isGranted, requireGrants } from "../base/deno_permissions.ts";
import { moduleArgs, moduleLoaded, type ModuleOptions } from "../sandbox/module.ts";
import { PairedChild, type PairedChildOptions } from "./paired_child.ts";
import { attempt, systemError } from "../base/failure.ts";

const FIELDS = { operation: "pair", path: null };

/** The options of `pair()`, checked. */
interface StartOptions extends ModuleOptions, PairedChildOptions {
  env?: Record<string, string>;
  clearEnv?: boolean;
  cwd?: string | URL;
  stdin?: ChildStdio;
  stdout?: ChildStdio;
  stderr?: ChildStdio;
  detached?: boolean;
}

/** Starts the child of a pair. A module that is returned has been loaded. */
export async function startPair(
  command: string | URL,
  options: StartOptions,
): Promise<PairedChild> {
  const isModule = command instanceof URL;
  const clearEnv = options.clearEnv ?? isModule;
  const start = attempt("start", isModule ? command.href : command);
  if (isModule && Deno.build.standalone) {
    const error = new Deno.errors.NotSupported(
      `${start}: this program was compiled, so there is no Deno to run a module ` +
        `with. Run it with deno, or start another program`,
    );
    throw Object.assign(error, FIELDS);
  }
  requireGrants(start, permissions("pair", command, { clearEnv }), FIELDS);
  // What is waited for comes last: the options count as they are at the call.
  const child = await ChildProcess.start({
    command: isModule ? Deno.execPath() : command,
    env: environment(options.env ?? {}, clearEnv, isModule, start),
    cwd: options.cwd instanceof URL ? pathOfUrl(options.cwd) : options.cwd,
    stdio: [
      options.stdin ?? "null",
      options.stdout ?? (isModule ? "piped" : "inherit"),
      options.stderr ?? (isModule ? "piped" : "inherit"),
    ],
    isDetached: options.detached ?? false,
    module: isModule ? command.href : undefined,
    args: isModule ? await moduleArgs(command, options) : options.args ?? [],
  });
  const paired = new PairedChild(child, options, isModule);
  if (!isModule) return paired;
  try {
    await moduleLoaded(child, command.href);
    return paired;
  } catch (error) {
    child.kill("SIGKILL");
    await paired[Symbol.asyncDispose]();
    options.signal?.throwIfAborted();
    throw error;
  }
}

/** The variables that say where Deno has its cache. */
const CACHE_VARIABLES = ["DENO_DIR", "XDG_CACHE_HOME", "HOME"];

/** The whole environment of the child. */
function environment(
  env: Record<string, string>,
  clearEnv: boolean,
  isModule: boolean,
  start: string,
): Record<string, string> {
  // No look beside it for packages, and none over the network for a newer Deno.
  const quiet: Record<string, string> = isModule
    ? { DENO_NO_PACKAGE_JSON: "1", DENO_NO_UPDATE_CHECK: "1" }
    : {};
  if (!clearEnv) {
    // Deno leaves out what is not UTF-8, and without its PATH the child would find no program.
    if (env["PATH"] === undefined) variable("PATH", start);
    return { ...Deno.env.toObject(), ...env, ...quiet };
  }
  if (!isModule) return env;
  // What the module imports from the registries is in this process's cache, which these lead to.
  const cache = CACHE_VARIABLES.flatMap((name) => {
    if (env[name] !== undefined || !isGranted("env", name)) return [];
    const value = variable(name, start);
    return value === undefined ? [] : [[name, value]];
  });
  return { ...Object.fromEntries(cache), ...env, ...quiet };
}

/** Returns a variable of this process. Throws if it is not UTF-8: Deno cannot hand it on. */
function variable(name: string, start: string): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.InvalidData)) throw cause;
    const state =
      `the variable ${name} is not UTF-8, and Deno cannot hand it on. Set another one, ` +
      `or pass one as env`;
    throw systemError(start, cause, FIELDS, state);
  }
}
