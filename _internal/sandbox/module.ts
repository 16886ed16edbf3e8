/** A Deno module as a child that may do nothing but use its socket, unless it is allowed more. */

import { showPath } from "../base/check.ts";
import { isGranted } from "../base/deno_permissions.ts";
import { ErrorContext } from "../base/error_context.ts";
import { pathOfUrl } from "../base/path.ts";
import { ownVariable, withOwnVariables } from "../child/environment.ts";
import type { Transport } from "../connection/socket_connection.ts";
import { settlesWithin } from "../base/silence.ts";
import { type ChildProcess, type ChildStdio, KILLED_MS } from "../child/process.ts";
import { startChild, type StartOptions } from "../child/start.ts";
import { FAILED, LOADED, type Runtime } from "./entry.ts";
import { sandboxArgs } from "./flags.ts";

/** The variables that name Deno's cache. The first one that is set decides. */
const CACHE_VARIABLES = ["DENO_DIR", "XDG_CACHE_HOME", "HOME"];

/** The variables that name the registries of the packages in it. */
const REGISTRY_VARIABLES = ["JSR_URL", "NPM_CONFIG_REGISTRY"];

/** Keeps Deno from looking for packages beside the module, and for a newer Deno on the network. */
const QUIET = { DENO_NO_PACKAGE_JSON: "1", DENO_NO_UPDATE_CHECK: "1" };

/** Throws in a compiled program. */
export function requireDeno(context: ErrorContext<null>): void {
  if (Deno.build.standalone) {
    throw context.error(
      Deno.errors.NotSupported,
      "a compiled program has no Deno to run a module with. Run it with deno, or start another program",
    );
  }
}

/**
 * Starts a module, and waits until it has loaded.
 *
 * @param runtime What runs beside it, in the same process.
 */
export async function startModule(
  context: ErrorContext<null>,
  module: URL,
  options: StartOptions,
  runtime?: Runtime,
): Promise<ChildProcess> {
  const { env = {}, clearEnv = true, stdin = "null", stdout = "copied", stderr = "copied" } =
    options;
  const variables = clearEnv ? withCache(context, env) : withOwnVariables(context, env);
  const start = {
    ...options,
    command: Deno.execPath(),
    env: { ...(showsColors(stderr) ? {} : { NO_COLOR: "1" }), ...variables, ...QUIET },
    stdio: [stdin, stdout, stderr] as const,
    args: await argsOf(context, module, options, runtime),
    inherits: runtime?.fd,
  };
  const { child, socket } = await startChild(context, start);
  try {
    await waitUntilLoaded(child, socket, module, options.config);
    return child;
  } catch (error) {
    child.kill("SIGKILL");
    await child[Symbol.asyncDispose]();
    options.signal?.throwIfAborted();
    throw error;
  }
}

/**
 * Adds the variables that lead to this process's cache, which has what modules import from
 * registries.
 */
function withCache(
  context: ErrorContext<null>,
  env: Record<string, string>,
): Record<string, string> {
  const cache: Record<string, string> = {};
  for (const name of [...CACHE_VARIABLES, ...REGISTRY_VARIABLES]) {
    if (env[name] !== undefined || !isGranted("env", name)) continue;
    // DENO_DIR alone leads to the cache: the other two may be left out.
    const isKnown = CACHE_VARIABLES.includes(name) &&
      (env["DENO_DIR"] ?? cache["DENO_DIR"]) !== undefined;
    const value = ownVariable(context, name, () => isKnown ? null : undefined);
    if (value !== undefined) cache[name] = value;
  }
  return { ...cache, ...env };
}

/** Reports whether what Deno prints in the child ends up on a terminal. */
function showsColors(stderr: ChildStdio): boolean {
  const isOwn = stderr === "copied" || stderr === "inherit";
  return isOwn && !Deno.noColor && Deno.stderr.isTerminal();
}

async function argsOf(
  context: ErrorContext<null>,
  module: URL,
  options: StartOptions,
  runtime: Runtime | undefined,
): Promise<string[]> {
  try {
    return await sandboxArgs(module, options, runtime);
  } catch (error) {
    // Only the working directory is looked for.
    if (!(error instanceof Deno.errors.NotFound)) throw error;
    throw context.fail(
      error,
      "a path in its options is relative, and the working directory does not exist any more",
    );
  }
}

async function waitUntilLoaded(
  child: ChildProcess,
  socket: Transport,
  module: URL,
  config: URL | undefined,
): Promise<void> {
  const first = new Uint8Array(1);
  // Not through the connection, which would count the byte.
  const count = await socket.read(first);
  if (count !== null && first[0] === LOADED) return;
  let reason = "it ended before it was loaded";
  if (count !== null && first[0] === FAILED) {
    reason = translate(clean(await new Response(child.conn.readable).text()), module, config);
  } else if (await settlesWithin(child.status, KILLED_MS)) {
    reason += `, with exit code ${(await child.status).code}. Its standard error says more`;
  }
  const context = new ErrorContext("pair", null, `Cannot load the module ${showPath(module)}`);
  throw context.error(Deno.errors.InvalidData, reason);
}

/**
 * Returns a message of Deno's without colors, its full stop, and the place in our entry. It quotes
 * lines of the module: their control characters are escaped, because a terminal would obey them.
 */
function clean(text: string): string {
  // deno-lint-ignore no-control-regex -- an escape sequence begins with one
  const plain = text.replace(/\x1b\[[0-9;]*m/g, "").replace(/\n +at data:.*/g, "")
    .replace(/\.$/, "");
  return plain.replace(/(?![\n\t])[\p{Cc}\p{Cf}]/gu, (character) => {
    const code = (character.codePointAt(0) as number).toString(16);
    return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, "0")}`;
  });
}

/** Deno's advice to pass a flag to it or to add a package, which would not reach the child. */
const READ_ADVICE = /Requires read access to "([^"]*)", run again with the --allow-read flag/g;
const IMPORT_ADVICE =
  /Requires import access to "([^"]*)", run again with the --allow-import flag/g;
const MAP_ADVICE = /Import ("[^"]*") not a dependency(?:\s+hint: .*)?/g;

/** What Deno says if its cache lacks an import. The flag is ours, so it is not the reason. */
const CACHED_ONLY = /, --cached-only is specified\.?/g;

/** What Deno says of a directory, which it takes for a package. */
const DIRECTORY =
  /\[ERR_UNSUPPORTED_DIR_IMPORT\] Directory import '([^']*)' is not supported[^\n]*/;

/** Replaces Deno's advice by the remedy here. */
function translate(reason: string, module: URL, config: URL | undefined): string {
  const file = showPath(pathOfUrl(module));
  const map = config && showPath(pathOfUrl(config));
  const fetching = map === undefined
    ? `. Run deno cache ${file}, which fetches what it imports. ` +
      `If the "links" of a deno.json have it, pass ${CONFIG}`
    : `. Run deno cache --config ${map} ${file}, which fetches what it imports`;
  const mapping = map === undefined
    ? `which it has no import map for. Import "jsr:…" or "npm:…" in full, or pass ${CONFIG}`
    : `which ${map} has no entry for. Add one to its "imports", or import "jsr:…" or "npm:…" in full`;
  return reason.replace(
    DIRECTORY,
    (_, href) =>
      href === module.href
        ? "it is a directory"
        : `it imports ${showPath(pathOfUrl(new URL(href)))}, which is a directory`,
  ).replace(
    READ_ADVICE,
    (_, path) =>
      `it imports "${path}", which is not in a directory that it may import from. If it should, ` +
      `pass modules: [${directoriesOf(module, path)}]`,
  ).replace(
    IMPORT_ADVICE,
    `it imports from $1. If it should, pass permissions: { import: ["$1"] }`,
  ).replace(
    MAP_ADVICE,
    (_, name) => `it imports ${name}, ${mapping}`,
  ).replace(CACHED_ONLY, () => fetching);
}

/**
 * Returns expressions for the directory of a module, and for that of a file that it imports. One
 * that has both may have much more, such as all of `/tmp`: then the file alone.
 */
function directoriesOf(module: URL, path: string): string {
  const own = pathOfUrl(module).split("/").slice(0, -1);
  const other = path.split("/");
  const differ = own.findIndex((name, i) => name !== other[i]);
  if (differ < 0) return OWN_DIRECTORY;
  const hasBoth = other.length - 1 === differ;
  const named = hasBoth ? other : other.slice(0, -1);
  // Only the root has both.
  if (differ === 1) return `${OWN_DIRECTORY}, ${JSON.stringify(named.join("/"))}`;
  const up = Array(own.length - differ).fill("..");
  const relative = JSON.stringify([...up, ...named.slice(differ)].join("/"));
  return `${OWN_DIRECTORY}, new URL(${relative}, import.meta.url)`;
}

const OWN_DIRECTORY = 'new URL(".", import.meta.url)';
const CONFIG = 'config: new URL("./deno.json", import.meta.url)';
