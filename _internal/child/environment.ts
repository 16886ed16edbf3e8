/**
 * The environment that a child gets from this process.
 *
 * Deno starts a child with variables that are UTF-8 only. It leaves out every other one. Of `PATH`
 * the directories that are UTF-8 are kept: without it, the child would find no program.
 */

import type { ErrorContext } from "../base/error_context.ts";

/** Deno's message for a variable that is not UTF-8, with the value as Rust escapes it. */
const NOT_UTF8 = /^environment variable was not valid unicode: "(.*)"$/s;

/** Returns the variables of this process, and those of `env`, which win. */
export function withOwnVariables(
  context: ErrorContext<null>,
  env: Record<string, string>,
): Record<string, string> {
  const own = Deno.env.toObject();
  if ((env["PATH"] ?? own["PATH"]) !== undefined) return { ...own, ...env };
  const path = ownVariable(context, "PATH", directoriesOf);
  return { ...own, ...(path !== undefined && { PATH: path }), ...env };
}

/**
 * Returns a variable of this process. Throws if it is not UTF-8 and nothing of it can be kept.
 *
 * @param keep Returns what is kept of a value that is not UTF-8, which it gets escaped. `null` if
 * the variable is left out.
 */
export function ownVariable(
  context: ErrorContext<null>,
  name: string,
  keep: (escaped: string) => string | null | undefined,
): string | undefined {
  try {
    return Deno.env.get(name);
  } catch (cause) {
    if (!(cause instanceof Deno.errors.InvalidData)) throw cause;
    const [, escaped = ""] = NOT_UTF8.exec(cause.message) ?? [];
    const kept = keep(escaped);
    if (kept !== undefined) return kept ?? undefined;
    throw context.fail(
      cause,
      `the variable ${name} is not UTF-8, and Deno cannot hand it on. Set another one, or pass ` +
        `one as env`,
    );
  }
}

/** Returns the directories of an escaped `PATH` that are UTF-8, if there are any. */
function directoriesOf(escaped: string): string | undefined {
  const directories = escaped.split(":").map(unescape).filter((entry) => entry !== undefined);
  return directories.join(":") || undefined;
}

/**
 * Returns a text without Rust's escapes. Returns `undefined` if it has bytes that are not UTF-8.
 */
function unescape(escaped: string): string | undefined {
  const escapes = /\\(?:u\{([0-9a-f]+)\}|(.))/gs;
  if ([...escaped.matchAll(escapes)].some(([, , letter]) => letter === "x")) return undefined;
  return escaped.replace(
    escapes,
    (_, code?: string, letter = "") =>
      code === undefined
        ? CONTROLS[letter] ?? letter
        : String.fromCodePoint(Number.parseInt(code, 16)),
  );
}

const CONTROLS: Record<string, string> = { n: "\n", r: "\r", t: "\t" };
