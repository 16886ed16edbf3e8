/** What keeps a program from being started: found out before, and put into words afterwards. */

import { absolutePath } from "../base/path.ts";
import { isGranted } from "../base/deno_permissions.ts";
import { builtin } from "../base/node.ts";
import { attempt, codeOf, systemError } from "../base/failure.ts";

/** What a start depends on. */
export interface Startable {
  command: string;
  args: string[];
  /** All of the child's environment. */
  env: Record<string, string>;
  cwd: string | undefined;
  /** The URL of the module, if the command runs one: errors name that. */
  module?: string | undefined;
}

type ErrorClass = new (message: string, options?: ErrorOptions) => Error;

/** The system's refusals: class and meaning of each. */
const REFUSALS: Record<string, [ErrorClass, string]> = {
  ENOENT: [Deno.errors.NotFound, "there is no such program"],
  EACCES: [Deno.errors.PermissionDenied, "it is not executable for this user"],
  ENOTDIR: [Deno.errors.NotADirectory, "a part of the path is no directory"],
  E2BIG: [Error, "its arguments and variables are longer than the system takes"],
};

const FIELDS = { operation: "pair", path: null };

function startOf({ command, module }: Startable): string {
  return attempt("start", module ?? command);
}

/** Returns why a child could not be started, in words that say what to mend. */
export function refusalOf(options: Startable, cause: Error): Error {
  if (cause instanceof Deno.errors.NotCapable) return systemError(startOf(options), cause, FIELDS);
  const code = codeOf(cause);
  const [Class, state] = REFUSALS[code ?? ""] ?? [Error, undefined];
  const error = Object.assign(new Class(cause.message, { cause }), { code });
  return systemError(startOf(options), error, FIELDS, state);
}

/**
 * Throws if a look shows that the start would fail. The system's own error would blame the program
 * for its directory, and Deno leaves a descriptor open at each start that fails.
 */
export function requireStartable(options: Startable): void {
  const { command, args, cwd, env } = options;
  const refuse = (code: keyof typeof REFUSALS, state?: string) => {
    const [Class, meaning] = REFUSALS[code] as [ErrorClass, string];
    const cause = Object.assign(new Class(state ?? meaning), { code });
    throw systemError(startOf(options), cause, FIELDS, state ?? meaning);
  };
  if (cwd !== undefined) {
    const info = look(cwd);
    const shown = JSON.stringify(cwd);
    if (info === null) refuse("ENOENT", `there is no directory ${shown} to start it in`);
    if (info?.isDirectory === false) refuse("ENOTDIR", `${shown} is no directory to start it in`);
  }
  const isLong = (text: string) => text.length > MAX_ARG / 3 && sizeOf(text) >= MAX_ARG;
  const long = Deno.build.os === "linux" ? args.findIndex(isLong) : -1;
  if (long >= 0) refuse("E2BIG", `args[${long}] is longer than the ${MAX_ARG - 1} bytes of Linux`);
  if (!command.includes("/")) {
    const places = env["PATH"]?.split(":");
    if (places?.every((at) => look(`${at || "."}/${command}`, cwd) === null)) {
      refuse("ENOENT");
    }
    return;
  }
  const info = look(command, cwd);
  if (info === null) refuse("ENOENT");
  if (info?.isDirectory) refuse("EACCES", "it is a directory");
  if (info?.mode != null && (info.mode & 0o111) === 0) refuse("EACCES");
  const interpreter = info?.isFile ? interpreterOf(absolutePath(command, cwd)) : undefined;
  if (interpreter !== undefined && look(interpreter, cwd) === null) {
    refuse(
      "ENOENT",
      `its first line names an interpreter that does not exist, ${show(interpreter)}`,
    );
  }
}

/** The longest argument, with the NUL at its end (execve(2), MAX_ARG_STRLEN). */
const MAX_ARG = 131_072;

function sizeOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** The path of an interpreter, quoted if it contains what cannot be seen. */
function show(interpreter: string): string {
  if (/^[\x21-\x7e]+$/.test(interpreter)) return interpreter;
  const shown = JSON.stringify(interpreter);
  return interpreter.endsWith("\r") ? `${shown}. Save the file with LF line endings` : shown;
}

/** Reads which interpreter the first line of a script names. Never waits, whatever is at the path by now. */
function interpreterOf(path: string): string | undefined {
  const fs = builtin("node:fs");
  try {
    const fd = fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
    try {
      if (!fs.fstatSync(fd).isFile()) return undefined;
      const start = new Uint8Array(256);
      const text = new TextDecoder().decode(start.subarray(0, fs.readSync(fd, start)));
      // The kernel ends the name at a blank or at the end of the line, and nowhere else.
      return /^#![ \t]*([^ \t\n\0]+)/.exec(text)?.[1];
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return undefined;
  }
}

/** Looks at a path. Returns `null` if nothing is there, `undefined` if that cannot be told. */
function look(path: string, base?: string): Deno.FileInfo | null | undefined {
  try {
    const whole = absolutePath(path, base);
    return isGranted("read", whole) ? Deno.statSync(whole) : undefined;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? null : undefined;
  }
}
