/** The process groups of commands that run, each in a session of its own. */

import type { Child } from "../../pair.ts";
import { SHELL } from "./stdio_child.ts";

/** How long a group has to end after SIGTERM: less than pair() gives the command alone. */
const GRACE_MS = 1500;

/** Sends signals to whole groups. Deno would need `--allow-run` for every program to do that itself. */
export class ProcessGroups {
  readonly #pids = new Set<number>();

  /** Adds the group of a command until the command ends. Its number may be another one's after that. */
  add({ pid, status }: Child): void {
    this.#pids.add(pid);
    status.then(() => this.#pids.delete(pid));
  }

  /** Asks all of them to end, and kills those whose command has not ended then. */
  end(): void {
    this.kill("TERM");
    setTimeout(() => this.kill("KILL"), GRACE_MS);
  }

  /** Sends a signal to all of them. */
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
      // Without a descriptor left, for one: pair() ends the commands themselves.
    }
  }
}
