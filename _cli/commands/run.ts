/**
 * `uds run -- CMD ARG…`: a child on a socket without a path. The other end is standard input and
 * output.
 */

import { isSocketError, MessageTooLarge } from "../../errors.ts";
import { type Child, pair } from "../../pair.ts";
import { permissions } from "../../permissions.ts";
import { exitCodeOf } from "../exit_codes.ts";
import { pipeToStderr } from "../io/output.ts";
import { bytesOf, pipeStdio, type Wire } from "../io/pipe_stdio.ts";
import { needsOfType } from "../io/packet_needs.ts";
import { onStopSignals } from "../io/signals.ts";
import { requireProgram, SHELL, startOnStdio } from "../io/child.ts";
import { Peekable, readStdin } from "../io/stdin.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import type { TypeFlags } from "../parse/options.ts";
import { reporter } from "../io/reporter.ts";

/** Its options. */
export type RunFlags = CommonFlags & TypeFlags & {
  readonly stdio?: boolean;
};

/** The exit codes of env and the shells: the command does not exist, or cannot be executed. */
const NOT_FOUND = 127;
const NOT_EXECUTABLE = 126;

/** The command. */
export async function run(
  flags: RunFlags,
  [command, ...args]: [string, ...string[]],
): Promise<number> {
  requireProgram(command);
  let started;
  try {
    started = await start(flags, command, args);
  } catch (error) {
    return reporter.fail(error, startCodeOf(error));
  }
  await using running = started.child;
  const stop = new AbortController();
  onStopSignals((signal) => {
    stop.abort();
    // A terminal sends SIGINT to the child as well.
    if (signal !== "SIGINT") running.kill(signal);
  }, () => running.kill("SIGKILL"));
  const printed = flags.stdio ? undefined : printErrors(running.stdout).catch(() => {});
  const piped = pipeStdio(started.wire, started.input, { signal: stop.signal }).catch((error) => {
    // The exit code shows whether the command read everything.
    if (!isSocketError(error) || error instanceof MessageTooLarge) throw error;
  });
  const ended = running.status.then((status) => {
    stop.abort();
    return status;
  });
  await Promise.all([piped, printed, ended]);
  return (await ended).code;
}

/** A running command, and how its socket is piped. */
export interface Started {
  readonly child: Child<unknown>;
  readonly wire: Wire;
  readonly input: Peekable<Uint8Array>;
}

/** Starts the command on a socket of the type. */
async function start(flags: RunFlags, command: string, args: string[]): Promise<Started> {
  const { type = "stream", stdio } = flags;
  if (type !== "stream") {
    const { startOnPackets } = await import("../packets/run.ts");
    return await startOnPackets(flags, type, command, args);
  }
  const child = stdio
    ? await startOnStdio(command, args)
    // What it prints itself is not data of the socket.
    : await pair(command, { args, stdout: "piped" });
  return { child, wire: bytesOf(child.conn), input: new Peekable(readStdin()) };
}

/** Pipes what a command prints to standard error, with backpressure. */
async function printErrors(output: ReadableStream<Uint8Array>): Promise<void> {
  for await (const chunk of output) await pipeToStderr(chunk);
}

/** Returns the Deno permissions that it needs. */
export function needs(
  flags: RunFlags,
  [command]: [string, ...string[]],
): Needs | Promise<Needs> {
  return needsOfType(flags, permissions("pair", flags.stdio ? SHELL : command));
}

/** Returns the exit code for a command that did not start. */
function startCodeOf(error: unknown): number {
  if (error instanceof Deno.errors.NotFound) return NOT_FOUND;
  return error instanceof Deno.errors.PermissionDenied ? NOT_EXECUTABLE : exitCodeOf(error);
}
