/**
 * A child process with a socket at descriptor 3, over node:child_process, which alone can give a child
 * one. What it gets wrong is put right here:
 *
 * - Unread bytes are thrown away when the child exits, unless its streams are taken over at once.
 * - `kill()` sends one signal only, and then reports that signal even if the child traps it and exits
 *   by itself: the two fields that it sets are set back.
 */

import type { ChildProcess as NodeChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { absolutePath } from "./absolute_path.ts";
import { adoptedConnection, AdoptedSocket, CHILD_FD } from "./adopted_socket.ts";
import { isGranted } from "./grants.ts";
import { builtin } from "./node.ts";
import { heardWithin } from "./silence.ts";
import type { SocketConnection } from "./socket_connection.ts";
import { attempt, codeOf, systemError } from "./system_error.ts";

/** How one of the three standard streams is connected. */
export type ChildStdio = "piped" | "inherit" | "null";

/** What to start. */
export interface ChildProcessOptions {
  command: string;
  args: string[];
  /** All of the child's environment. */
  env: Record<string, string>;
  cwd: string | undefined;
  stdio: [ChildStdio, ChildStdio, ChildStdio];
  /** Whether it gets a session of its own. */
  isDetached?: boolean;
  /** Whether the command is Deno with permission flags. */
  isSandbox?: boolean;
}

/** Node's words for what Deno calls otherwise. */
const NODE_STDIO = { piped: "pipe", inherit: "inherit", null: "ignore" } as const;

/** The numbers of signals, from which a shell makes an exit code. */
const SIGNAL_BASE = 128;

/** How long a child that has been sent SIGKILL is waited for: the kernel may hold it. */
export const KILLED_MS = 5000;

/** A child that has been started. */
export class ChildProcess {
  readonly pid: number;
  /** What {@linkcode conn} is made of. */
  readonly transport: AdoptedSocket;
  readonly conn: SocketConnection;
  readonly status: Promise<Deno.CommandStatus>;
  /** Standard input, output and error where they are piped. */
  readonly streams: readonly (SocketConnection | undefined)[];
  readonly #child: NodeChildProcess;
  #exited = false;
  #killError: Error | undefined;

  private constructor(child: NodeChildProcess, pid: number) {
    this.#child = child;
    this.pid = pid;
    // Only kill() fails once a child has started.
    child.on("error", (error: Error) => this.#killError = error);
    const stdio = child.stdio as (Socket | null)[];
    this.transport = AdoptedSocket.fromStream(stdio[CHILD_FD] as Socket);
    this.conn = adoptedConnection(this.transport);
    this.streams = stdio.slice(0, CHILD_FD).map((stream, fd) => {
      if (stream === null) return undefined;
      const only = fd === 0 ? "write" : "read";
      return adoptedConnection(AdoptedSocket.fromStream(stream, only), only);
    });
    this.status = new Promise((resolve) => {
      child.once("exit", (exitCode: number | null, name: string | null) => {
        this.#exited = true;
        const signal = name as Deno.Signal | null;
        const signals = builtin("node:os").constants.signals;
        const code = exitCode ?? SIGNAL_BASE + (signal ? signals[signal as NodeJS.Signals] : 0);
        resolve({ success: code === 0, code, signal });
      });
    });
  }

  /** Starts it; rejects where that fails, and then nothing is left. */
  static async start(options: ChildProcessOptions): Promise<ChildProcess> {
    const { command, args, env, cwd, stdio, isDetached = false, isSandbox } = options;
    requireStartable(options);
    const { spawn } = builtin("node:child_process");
    const child = spawn(isSandbox ? command : respell(command), args, {
      env,
      cwd,
      detached: isDetached,
      stdio: [...stdio.map((way) => NODE_STDIO[way]), "pipe"],
    });
    if (child.pid !== undefined) return new ChildProcess(child, child.pid);
    const cause = await new Promise<Error>((resolve) => child.once("error", resolve));
    throw refusalOf(options, cause);
  }

  /** Whether it ends within some milliseconds. */
  async endsWithin(ms: number): Promise<boolean> {
    const ended = new AbortController();
    this.status.then(() => ended.abort());
    await heardWithin(ms, ended.signal);
    return this.#exited;
  }

  kill(signal: Deno.Signal): void {
    if (!Object.hasOwn(builtin("node:os").constants.signals, signal)) {
      throw new TypeError(`Invalid signal: there is no ${signal} here`);
    }
    if (this.#exited) return;
    this.#killError = undefined;
    this.#child.kill(signal as NodeJS.Signals);
    // Without this no second signal would be sent, and a child that traps the first one would count as
    // killed by it.
    Object.assign(this.#child, { killed: false, signalCode: null });
    const cause = this.#killError as Error | undefined;
    if (cause === undefined) return;
    const error = Object.assign(new Deno.errors.PermissionDenied(cause.message, { cause }), {
      code: codeOf(cause),
    });
    const state = "the system does not let this user send it a signal";
    throw systemError(`Cannot send ${signal} to process ${this.pid}`, error, FIELDS, state);
  }
}

/**
 * Deno's own path in another spelling: where the command is exactly that path and its arguments have no
 * permission flag, node:child_process inserts `-A`. (Where they have one it is the other way round: under
 * another spelling it would look for Deno's path among the arguments.)
 */
function respell(command: string): string {
  return command === Deno.execPath() ? command.replace(/\/(?=[^/]*$)/, "/./") : command;
}

type ErrorClass = new (message: string, options?: ErrorOptions) => Error;

/** What the system's refusals mean. */
const REFUSALS: Record<string, [ErrorClass, string]> = {
  ENOENT: [Deno.errors.NotFound, "there is no such program"],
  EACCES: [Deno.errors.PermissionDenied, "it is not executable for this user"],
  ENOTDIR: [Deno.errors.NotADirectory, "a part of the path is no directory"],
  E2BIG: [Error, "its arguments and variables are longer than the system takes"],
};

const FIELDS = { operation: "pair", path: null };

/** Why a child could not be started, in the words of whoever has to mend it. */
function refusalOf({ command }: ChildProcessOptions, cause: Error): Error {
  const start = attempt("start", command);
  if (cause instanceof Deno.errors.NotCapable) return systemError(start, cause, FIELDS);
  const code = codeOf(cause);
  const [Class, state] = REFUSALS[code ?? ""] ?? [Error, undefined];
  const error = Object.assign(new Class(cause.message, { cause }), { code });
  return systemError(start, error, FIELDS, state);
}

/**
 * Throws where a look tells that the start would fail: the system's own error would blame the program
 * for its directory, and Deno leaves a descriptor open at each start that fails.
 */
function requireStartable({ command, args, cwd, env }: ChildProcessOptions): void {
  const refuse = (code: keyof typeof REFUSALS, state?: string) => {
    const [Class, meaning] = REFUSALS[code] as [ErrorClass, string];
    const cause = Object.assign(new Class(state ?? meaning), { code });
    throw systemError(attempt("start", command), cause, FIELDS, state ?? meaning);
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
  const interpreter = info?.isFile ? interpreterOf(command, cwd) : undefined;
  if (interpreter !== undefined && look(interpreter, cwd) === null) {
    refuse("ENOENT", `its first line names an interpreter that does not exist, ${interpreter}`);
  }
}

/** The longest argument, with the NUL at its end (execve(2), MAX_ARG_STRLEN). */
const MAX_ARG = 131_072;

function sizeOf(text: string): number {
  return new TextEncoder().encode(text).length;
}

/** The interpreter that the first line of a script names. */
function interpreterOf(path: string, base: string | undefined): string | undefined {
  try {
    using file = Deno.openSync(absolutePath(path, base));
    const start = new Uint8Array(256);
    const text = new TextDecoder().decode(start.subarray(0, file.readSync(start) ?? 0));
    return /^#![ \t]*([^\s]+)/.exec(text)?.[1];
  } catch {
    return undefined;
  }
}

/** What is at a path: `null` for nothing, `undefined` where that cannot be told. */
function look(path: string, base?: string): Deno.FileInfo | null | undefined {
  try {
    const whole = absolutePath(path, base);
    return isGranted("read", whole) ? Deno.statSync(whole) : undefined;
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? null : undefined;
  }
}
