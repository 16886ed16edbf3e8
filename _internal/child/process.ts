/**
 * A child process with a socket at descriptor 3, over node:child_process, which alone can give a child
 * one. What it gets wrong is put right here:
 *
 * - Unread bytes are thrown away when the child exits, unless its streams are taken over at once.
 * - `kill()` sends one signal only, and then reports that signal even if the child traps it and exits
 *   by itself: the two fields that it sets are set back.
 * - It throws where nothing can catch it when a signal without a name ends the child:
 *   {@linkcode watchSignals} reports that signal.
 */

import type { ChildProcess as NodeChildProcess } from "node:child_process";
import type { Socket } from "node:net";
import { adoptedConnection, AdoptedSocket, CHILD_FD } from "./fd_socket.ts";
import { builtin } from "../base/node.ts";
import { type SignalWait, watchSignals } from "./realtime_signals.ts";
import { heardWithin } from "../base/silence.ts";
import type { SocketConnection } from "../connection/socket_connection.ts";
import { refusalOf, requireStartable } from "./startable.ts";
import { codeOf, systemError } from "../base/failure.ts";

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
  /** The URL of the module, if the command is Deno with permission flags that runs one. */
  module?: string | undefined;
}

const FIELDS = { operation: "pair", path: null };

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

  private constructor(child: NodeChildProcess, pid: number, wait: SignalWait) {
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
      const end = (code: number, signal: Deno.Signal | null) => {
        this.#exited = true;
        wait.cancel();
        resolve({ success: code === 0, code, signal });
      };
      child.once("exit", (exitCode: number | null, name: string | null) => {
        const signals = builtin("node:os").constants.signals;
        const number = name === null ? 0 : signals[name as NodeJS.Signals];
        end(exitCode ?? SIGNAL_BASE + number, name as Deno.Signal | null);
      });
      wait.number.then((number) => end(SIGNAL_BASE + number, null));
    });
  }

  /** Starts it; rejects where that fails, and then nothing is left. */
  static async start(options: ChildProcessOptions): Promise<ChildProcess> {
    const { command, args, env, cwd, stdio, isDetached = false, module } = options;
    requireStartable(options);
    const { spawn } = builtin("node:child_process");
    const { result: child, ended } = watchSignals(() =>
      spawn(module === undefined ? respell(command) : command, args, {
        env,
        cwd,
        detached: isDetached,
        stdio: [...stdio.map((way) => NODE_STDIO[way]), "pipe"],
      })
    );
    if (child.pid !== undefined) return new ChildProcess(child, child.pid, ended);
    ended.cancel();
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
