/** `uds run -- CMD ARG…`: a child on a socket that has no path; this side is standard input and output. */

import { isSocketError } from "../../errors.ts";
import { pair } from "../../pair.ts";
import { exitCodeOf } from "../exit_codes.ts";
import { passToErrors } from "../io/output.ts";
import { pass } from "../io/pass.ts";
import { onStopSignals } from "../io/signals.ts";
import { startOnStdio } from "../io/stdio_child.ts";
import { Input } from "../io/streams.ts";
import { type CommonFlags, Talk, UsageError } from "../io/reporter.ts";

/** Its options. */
export type RunFlags = CommonFlags & {
  readonly stdio?: boolean;
};

/** As env and the shells have it: there is no such command, or it cannot be run. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** The command. */
export async function run(flags: RunFlags, command: string, ...args: string[]): Promise<number> {
  if (command === "") throw new UsageError("CMD is empty", "run");
  const talk = new Talk(flags);
  let child;
  try {
    child = flags.stdio
      ? await startOnStdio(command, args)
      // What it prints itself is talk, beside what comes from the socket.
      : await pair(command, { args, stdout: "piped" });
  } catch (error) {
    return talk.fail(error, startCodeOf(error));
  }
  await using running = child;
  const stop = new AbortController();
  onStopSignals((signal) => {
    stop.abort();
    // From a terminal SIGINT has come to the child as well.
    if (signal !== "SIGINT") running.kill(signal);
  }, () => running.kill("SIGKILL"));
  const said = flags.stdio ? undefined : printErrors(running.stdout).catch(() => {});
  const passed = pass(running.conn, new Input(), { signal: stop.signal }).catch((error) => {
    // What a command did not read, or reset, shows in how it ended.
    if (!isSocketError(error)) throw error;
  });
  const ended = running.status.then((status) => {
    stop.abort();
    return status;
  });
  await Promise.all([passed, said, ended]);
  return (await ended).code;
}

/** Passes what a command prints on to standard error, no faster than that takes it. */
async function printErrors(output: ReadableStream<Uint8Array>): Promise<void> {
  for await (const chunk of output) await passToErrors(chunk);
}

/** The exit code where a command could not be started. */
function startCodeOf(error: unknown): number {
  if (error instanceof Deno.errors.NotFound) return NOT_FOUND;
  return error instanceof Deno.errors.PermissionDenied ? NOT_EXECUTABLE : exitCodeOf(error);
}
