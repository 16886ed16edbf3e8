/** The process groups of running commands, each in its own session. */

import type { Child } from "../../pair.ts";
import { SHELL } from "./stdio_child.ts";

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
