/** The commands of connections: their start, their output up to their end, and their groups. */

import { respell } from "../../_internal/base/path.ts";
import { settlesWithin } from "../../_internal/base/silence.ts";
import type { Connection } from "../../connection.ts";
import { type Child, pair, type PairOptions } from "../../pair.ts";
import { UsageError } from "../exit_codes.ts";

/**
 * The shell that moves descriptor 3 to standard input and output, and then executes the command.
 */
export const SHELL = "sh";
const ON_STDIO = 'exec "$0" "$@" <&3 >&3 3>&-';

/** Throws unless a command line names a program. */
export function requireProgram(command: string): void {
  if (command === "") throw new UsageError('CMD must be a program, got ""');
}

/** Returns the arguments of the shell for a program and its arguments. */
export function onStdio(command: string, args: readonly string[]): string[] {
  return ["-c", ON_STDIO, respell(command), ...args];
}

/** Starts a program with the socket as its standard input and output. */
export function startOnStdio(
  command: string,
  args: readonly string[],
  options: Pick<PairOptions, "env" | "signal" | "detached"> = {},
): Promise<Child> {
  return pair(SHELL, { ...options, args: onStdio(command, args) });
}

/** How long, in milliseconds, to wait in all for bytes in the kernel after a command has exited. */
const LEFT_MS = 250;

/** The maximum number of bytes to read after the exit. By default, no socket buffer holds more. */
const MAX_LEFT_BYTES = 4 * 1024 * 1024;

/**
 * Returns what a command writes until it exits, even if a process that it left has the socket. Then
 * a read may still be pending: close the connection.
 */
export function commandOutput({ conn, status }: Child): Pick<Connection, "read"> {
  const exit = new AbortController();
  status.then(() => exit.abort());
  let leftMs = LEFT_MS;
  let leftBytes = MAX_LEFT_BYTES;
  return {
    async read(buffer) {
      try {
        exit.signal.throwIfAborted();
        return await conn.read(buffer, { signal: exit.signal });
      } catch (error) {
        if (!exit.signal.aborted) throw error;
      }
      if (leftBytes <= 0) return null;
      const begin = performance.now();
      const reading = conn.read(buffer);
      if (!await settlesWithin(reading, leftMs)) return null;
      leftMs = Math.max(0, leftMs - (performance.now() - begin));
      const count = await reading;
      leftBytes -= count ?? 0;
      return count;
    },
  };
}

/**
 * How long, in milliseconds, a group may take to end after SIGTERM. It is shorter than the grace of
 * pair().
 */
const GRACE_MS = 1500;

/**
 * Sends signals to whole groups by a shell. Deno itself would need `--allow-run` for every program.
 */
export class ProcessGroups {
  readonly #pids = new Set<number>();

  /** Adds the group of a command until the command exits. Its number may be reused after that. */
  add({ pid, status }: Child): void {
    this.#pids.add(pid);
    status.then(() => this.#pids.delete(pid));
  }

  /** Sends SIGTERM to all, and later kills those with a running command. */
  end(): void {
    this.kill("TERM");
    setTimeout(() => this.kill("KILL"), GRACE_MS);
  }

  /** Sends a signal to all. */
  kill(signal: "TERM" | "KILL"): void {
    if (this.#pids.size === 0) return;
    const groups = [...this.#pids].map((pid) => `-${pid}`);
    try {
      new Deno.Command(SHELL, {
        args: ["-c", 'kill -s "$0" -- "$@"', signal, ...groups],
        stdin: "null",
        stdout: "null",
        stderr: "null",
      }).outputSync();
    } catch {
      // There may be no free descriptor. pair() ends the commands themselves.
    }
  }
}
