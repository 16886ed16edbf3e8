/** A Deno module as a child: what it is started with, and whether it could be loaded. */

import { absolutePath, directoryOf, pathOfUrl } from "../base/path.ts";
import { type ChildProcess, KILLED_MS } from "../child/process.ts";
import { FAILED, LOADED, sandboxArgs } from "./flags.ts";
import { show } from "../base/check.ts";
import { attempt, systemError } from "../base/failure.ts";

const FIELDS = { operation: "pair", path: null };

/** The options of `pair()` that concern the start of a module. */
export interface ModuleOptions {
  args?: string[];
  modules?: (string | URL)[];
  permissions?: "none" | Deno.PermissionOptionsObject;
  config?: URL;
}

/** The arguments with which Deno runs a module. */
export async function moduleArgs(module: URL, options: ModuleOptions): Promise<string[]> {
  try {
    return await argsOf(module, options);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound) || hasWorkingDirectory()) throw error;
    const state =
      "a path in its options is relative, and the working directory does not exist any more";
    throw systemError(attempt("start", module.href), error, FIELDS, state);
  }
}

function hasWorkingDirectory(): boolean {
  try {
    return Deno.cwd() !== "";
  } catch {
    return false;
  }
}

async function argsOf(module: URL, options: ModuleOptions): Promise<string[]> {
  const own = directoryOf(absolutePath(pathOfUrl(module)));
  const directories = (options.modules ?? [own]).map((entry) =>
    absolutePath(entry instanceof URL ? pathOfUrl(entry) : entry)
  );
  const comma = directories.find((directory) => directory.includes(","));
  if (comma !== undefined) {
    throw new TypeError(
      `Cannot start ${show(module.href)}: the directory ${
        show(comma)
      } that it is to read has a comma, ` +
        `which deno's flags have no escape for. Move the module`,
    );
  }
  const { permissions, config } = options;
  return await sandboxArgs({
    module,
    args: [...options.args ?? []],
    directories,
    permissions: permissions === undefined || permissions === "none" ? {} : permissions,
    config: config && pathOfUrl(config),
  });
}

/** Resolves when a module has been loaded, and rejects with the reason why it has not. */
export async function moduleLoaded(child: ChildProcess, name: string): Promise<void> {
  const first = new Uint8Array(1);
  const count = await child.transport.read(first);
  if (count !== null && first[0] === LOADED) return;
  let reason = "it ended before it was loaded";
  if (count !== null && first[0] === FAILED) {
    reason = translate(clean(await new Response(child.conn.readable).text()));
  } else if (await child.endsWithin(KILLED_MS)) {
    reason += `, with exit code ${(await child.status).code}. Its standard error says more`;
  }
  throw cannotLoad(name, reason);
}

/**
 * A message of Deno's without its colours, and without the place in the entry of ours. It quotes lines of
 * the module, whose control characters a terminal would obey: they are escaped.
 */
function clean(text: string): string {
  // deno-lint-ignore no-control-regex -- an escape sequence begins with one
  const plain = text.replace(/\x1b\[[0-9;]*m/g, "").replace(/\n +at data:.*/g, "");
  return plain.replace(/(?![\n\t])[\p{Cc}\p{Cf}]/gu, (character) => {
    const code = (character.codePointAt(0) as number).toString(16);
    return code.length > 2 ? `\\u{${code}}` : `\\x${code.padStart(2, "0")}`;
  });
}

/** What Deno advises where a permission is missing, and what helps here. */
const REMEDIES: [advice: RegExp, remedy: string][] = [
  [
    /Requires read access to ("[^"]*"), run again with the --allow-read flag/g,
    `it imports $1, which is not in a directory that it may import from. If it should, pass the ` +
    `directory of both: modules: [new URL("..", import.meta.url)]`,
  ],
  [
    /Requires import access to "([^"]*)", run again with the --allow-import flag/g,
    `it imports from $1. If it should, pass permissions: { import: ["$1"] }`,
  ],
];

/** Replaces the advice to give Deno a flag, which starts another process than the child. */
function translate(reason: string): string {
  return REMEDIES.reduce((text, [advice, remedy]) => text.replace(advice, remedy), reason);
}

function cannotLoad(name: string, reason: string): Error {
  return Object.assign(
    new Deno.errors.InvalidData(`Cannot load the module ${show(name)}: ${reason}`),
    FIELDS,
  );
}
