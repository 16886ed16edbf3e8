/**
 * Refusals to start a program: those that a look finds before the start, and those of the system.
 */

import type { ErrorContext } from "../base/error_context.ts";
import { isGranted } from "../base/deno_permissions.ts";
import { builtin } from "../base/node.ts";
import { codeOf } from "../base/failure.ts";
import { errorOfCode } from "../base/system_code.ts";
import { fromNode } from "../descriptor/node_error.ts";

/** The part of a start that can be looked at. */
interface Startable {
  command: string;
  args: string[];
  /** All of the child's environment. */
  env: Record<string, string>;
  cwd: string | undefined;
}

/** The meanings of codes at a start. */
const STATES: Record<string, string> = {
  ENOENT: "the program does not exist",
  EACCES: "it is not executable for this user",
  E2BIG: "its arguments and variables are longer than the system takes",
};

/** Returns the error of a start that the system refused. */
export function refusalOf(context: ErrorContext<null>, start: Startable, cause: Error): Error {
  if (cause instanceof Deno.errors.NotCapable) return context.fail(cause);
  return context.fail(fromNode(cause), meaningOf(codeOf(cause), start));
}

/** Returns the meaning of a code at a start, with what was probably meant by the command. */
function meaningOf(code: string | undefined, { command, args }: Startable): string | undefined {
  const state = STATES[code ?? ""];
  return code === "ENOENT" || code === "EACCES" ? state + remedyOf(command, args) : state;
}

/**
 * Throws if a look shows that the start would fail. The system would report a missing directory as
 * a missing program, and Deno leaves a descriptor open at each start that fails.
 */
export function requireStartable(context: ErrorContext<null>, start: Startable): void {
  const { command, args, env, cwd } = start;
  const refuse = (code: string, state = meaningOf(code, start)!) => {
    throw context.fail(errorOfCode(code, state), state);
  };
  if (cwd !== undefined) {
    const info = look(cwd);
    const shown = JSON.stringify(cwd);
    if (info === null) refuse("ENOENT", `its working directory ${shown} does not exist`);
    if (info?.isDirectory === false) {
      refuse("ENOTDIR", `its working directory ${shown} is not a directory`);
    }
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
  const interpreter = info?.isFile ? interpreterOf(inDirectory(command, cwd)) : undefined;
  if (interpreter !== undefined && look(interpreter, cwd) === null) {
    refuse(
      "ENOENT",
      `its first line names an interpreter that does not exist, ${show(interpreter)}`,
    );
  }
}

/** What a shell would not pass on as it is. */
const SHELL_SYNTAX = /["'`\\$|&;<>()*?[\]{}~#]/;

/** Returns what was probably meant by the name of a program that cannot be started. */
function remedyOf(command: string, args: string[]): string {
  const [name, ...words] = command.trim().split(/\s+/);
  if (name && words.length > 0) {
    if (SHELL_SYNTAX.test(command)) {
      return ". Its arguments are given apart, in args, and no shell reads them";
    }
    const all = JSON.stringify([...words, ...args]);
    return `. Its arguments are given apart: ${JSON.stringify(name)} and ${all}`;
  }
  if (!/\.[cm]?[jt]sx?$/.test(command)) return "";
  const url = `new URL(${JSON.stringify(command)}, import.meta.url)`;
  return `. A module is given by its URL, ${url}, or as an argument of "deno"`;
}

/** The longest argument, with the NUL at its end (execve(2), MAX_ARG_STRLEN). */
const MAX_ARG = 131_072;

function sizeOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** Formats the path of an interpreter. It is quoted if a character in it is not visible. */
function show(interpreter: string): string {
  if (/^[\x21-\x7e]+$/.test(interpreter)) return interpreter;
  const shown = JSON.stringify(interpreter);
  return interpreter.endsWith("\r") ? `${shown}. Save the file with LF line endings` : shown;
}

/**
 * Reads the interpreter from the first line of a script. Does not block, whatever is at the path
 * now.
 */
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

/** Looks at a path. Returns `null` if nothing is there, `undefined` if it cannot find out. */
function look(path: string, base?: string): Deno.FileInfo | null | undefined {
  try {
    const whole = inDirectory(path, base);
    return isGranted("read", whole) ? Deno.statSync(whole) : undefined;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? null : undefined;
  }
}

function inDirectory(path: string, directory: string | undefined): string {
  return path.startsWith("/") || directory === undefined ? path : `${directory}/${path}`;
}
