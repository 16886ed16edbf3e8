/** `uds replay FILE PATH`: plays one side of a recording, and compares what the other sends. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import { handled } from "../../_internal/base/rejection.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { listen } from "../../listener.ts";
import { permissions } from "../../permissions.ts";
import { FAILURE, OK, UsageError } from "../exit_codes.ts";
import { connectStream } from "../io/connect_stream.ts";
import { print } from "../io/output.ts";
import { type Found, play } from "../io/played.ts";
import { isStdin, readRecording, type RecordedConnection, shownFile } from "../io/recording.ts";
import { formatJson, formatText } from "../io/replay_lines.ts";
import { reporter } from "../io/reporter.ts";
import { stopSignal } from "../io/signals.ts";
import { waitLimit } from "../io/silence_limit.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import type { ConnectingFlags } from "../parse/options.ts";

/** Its options. */
export type ReplayFlags = CommonFlags & ConnectingFlags & {
  readonly connection?: number;
  readonly listen?: boolean;
};

/** The recorded connections to play, by their numbers. */
type Recorded = readonly (readonly [number: number, connection: RecordedConnection])[];

/** What was played. */
interface Played {
  readonly connections: number;
  readonly differences: number;
}

const TIMEOUT_MS = 5000;

/** Returns the Deno permissions that it needs. */
export function needs(flags: ReplayFlags, file: string, path: SocketPath): Needs {
  const reading = isStdin(file) ? {} : { read: [file] };
  return union([reading, permissions(flags.listen ? "serve" : "connect", path)]);
}

/** The command. */
export async function run(flags: ReplayFlags, file: string, path: SocketPath): Promise<number> {
  if (flags.listen && flags.wait) throw new UsageError("--listen and --wait do not go together");
  requireGrants("Cannot replay", needs(flags, file, path), { operation: "replay", path: null });
  const recording = await readRecording(file);
  const { connection: only } = flags;
  if (only !== undefined && !recording.has(only)) {
    throw new UsageError(
      `--connection must be one of ${[...recording.keys()].join(", ")}, got ${only}`,
    );
  }
  const recorded = [...recording].filter(([number]) => only === undefined || number === only);
  if (recorded.length === 0) {
    throw new Deno.errors.InvalidData(`Cannot replay ${shownFile(file)}: it is empty`);
  }
  const played = await (flags.listen ? playServer : playClients)(flags, path, recorded);
  const { connections, differences } = played;
  const missing = connections < recorded.length ? ` of ${recorded.length}` : "";
  reporter.say(`connections: ${connections}${missing}, differences: ${differences}`, {
    event: "replayed",
    ...played,
  });
  return differences === 0 && missing === "" ? OK : FAILURE;
}

/** Returns how long, in milliseconds, to wait. */
export function limitOf({ timeout, listen }: ReplayFlags): number {
  return (timeout ?? (listen ? 0 : TIMEOUT_MS)) || Infinity;
}

/** Connects for one recorded connection after another, and prints all differences. */
async function playClients(
  flags: ReplayFlags,
  path: SocketPath,
  recorded: Recorded,
): Promise<Played> {
  const timeout = limitOf(flags);
  let differences = 0;
  for (const [number, connection] of recorded) {
    await using conn = await connectStream({ path, timeout, wait: flags.wait });
    const found = await play(conn, connection, { sends: "to-target", timeout });
    differences += found.length;
    await printFound(flags, number, found);
  }
  return { connections: recorded.length, differences };
}

/**
 * Plays each recorded connection with the next client, several at once if they come so. The first
 * difference ends it.
 */
async function playServer(
  flags: ReplayFlags,
  path: SocketPath,
  recorded: Recorded,
): Promise<Played> {
  const timeout = limitOf(flags);
  const [stopped, differing] = [stopSignal(), new AbortController()];
  const signal = AbortSignal.any([stopped, differing.signal]);
  stopped.addEventListener("abort", () => reporter.ending());
  await using listener = await listen({ path, signal });
  reporter.listening(resolveSocketPath(path));
  using limit = waitLimit(path, timeout);
  // The disposal at the end rejects with the same failure.
  limit.signal.addEventListener("abort", () => void listener.close().catch(() => {}));

  const waiting = [...recorded];
  let connections = 0;
  let differences = 0;
  const serveClient = async (conn: Connection, next: Recorded[number], onData: () => void) => {
    const [number, connection] = next;
    signal.addEventListener("abort", () => conn.close());
    const options = { sends: "to-client", timeout, endsAtDifference: true, onData } as const;
    const found = await play(conn, connection, options).finally(() => conn.close());
    // A client that was cut off did nothing wrong.
    if (signal.aborted) return;
    if (isProbe(connection, found)) {
      waiting.push(next);
      waiting.sort((a, b) => recorded.indexOf(a) - recorded.indexOf(b));
      return;
    }
    connections++;
    differences += found.length;
    if (found.length === 0) return;
    differing.abort();
    await printFound(flags, number, found);
  };
  const serving = new Set<Promise<void>>();
  /** For each client that has sent nothing so far, a promise that settles when this changes. */
  const silent = new Set<Promise<void>>();
  for await (const conn of listener) {
    limit.pause();
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    silent.add(begun);
    begun.then(() => silent.delete(begun));
    const next = waiting.shift()!;
    if (!startsByClient(next[1])) begin();
    const served = serveClient(conn, next, begin).finally(() => {
      begin();
      serving.delete(served);
      if (serving.size === 0) limit.restart();
    });
    serving.add(served);
    // A failure ends the loop below, or the command.
    handled(served);
    // Each of these clients may turn out to be a probe.
    while (waiting.length === 0 && silent.size > 0) await Promise.race(silent);
    // There is nothing to play for others: refuse them at once.
    if (waiting.length === 0) await listener.close();
  }
  await Promise.all(serving);
  limit.signal.throwIfAborted();
  return { connections, differences };
}

/** Reports whether the recorded client sent bytes before the server did anything. */
function startsByClient({ steps: [first] }: RecordedConnection): boolean {
  return first?.event === "data" && first.direction === "to-target";
}

/** Reports whether a client only looked whether the server is there: it ended without a byte. */
function isProbe(connection: RecordedConnection, found: readonly Found[]): boolean {
  const [first] = found;
  return startsByClient(connection) && first !== undefined && "got" in first &&
    first.offset === 0 && first.got.length === 0 && !first.isSilent;
}

/** Prints what differs, as text or as JSON. */
async function printFound(
  flags: ReplayFlags,
  number: number,
  found: readonly Found[],
): Promise<void> {
  const silence = limitOf(flags) / 1000;
  for (const each of found) {
    await print(flags.json ? formatJson(number, each) : formatText(number, each, silence));
  }
}
