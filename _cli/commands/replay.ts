/** `uds replay FILE PATH`: plays one side of a recording, and compares what the other sends. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import { handled } from "../../_internal/base/rejection.ts";
import { resolveSocketPath, type SocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { listen } from "../../listener.ts";
import { permissions } from "../../permissions.ts";
import { FAILURE, OK, UsageError } from "../exit_codes.ts";
import { connectStream } from "../io/connect_stream.ts";
import { describe, textOf } from "../io/framing.ts";
import { print } from "../io/output.ts";
import { play } from "../io/played.ts";
import { readRecording, type Step } from "../io/recording.ts";
import { reporter } from "../io/reporter.ts";
import { stopSignal } from "../io/signals.ts";
import { SilenceLimit } from "../io/silence_limit.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import type { ConnectingFlags } from "../parse/options.ts";
import { shownPath } from "../parse/parameters.ts";
import type { Difference } from "../text/differences.ts";
import { json, printable } from "../text/printable.ts";
import { connectOptions } from "./connect.ts";

/** Its options. */
export type ReplayFlags = CommonFlags & ConnectingFlags & {
  readonly connection?: number;
  readonly listen?: boolean;
};

/** The recorded connections to play, by their numbers. */
type Recorded = readonly (readonly [connection: number, steps: readonly Step[]])[];

/** What was played. */
interface Played {
  readonly connections: number;
  readonly differences: number;
}

const TIMEOUT_MS = 5000;
/** The maximum number of bytes of a difference to print. */
const SHOWN_BYTES = 32;

/** Returns the Deno permissions that it needs. */
export function needs(flags: ReplayFlags, file: string, path: SocketPath): Needs {
  return union([{ read: [file] }, permissions(flags.listen ? "serve" : "connect", path)]);
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
    throw new Deno.errors.InvalidData(`Cannot replay ${JSON.stringify(file)}: it is empty`);
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

/** Connects for one recorded connection after another, and prints all differences. */
async function playClients(
  flags: ReplayFlags,
  path: SocketPath,
  recorded: Recorded,
): Promise<Played> {
  const timeout = flags.timeout || TIMEOUT_MS;
  let differences = 0;
  for (const [connection, steps] of recorded) {
    await using conn = await connectStream(connectOptions(flags, path));
    for (const difference of await play(conn, steps, { sends: "to-target", timeout })) {
      differences++;
      await printDifference(flags, connection, difference);
    }
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
  const timeout = flags.timeout || Infinity;
  const [stopped, differing] = [stopSignal(), new AbortController()];
  const signal = AbortSignal.any([stopped, differing.signal]);
  stopped.addEventListener("abort", () => reporter.ending());
  await using listener = await listen({ path, signal });
  reporter.listening(resolveSocketPath(path));
  using limit = new SilenceLimit(timeout, `Cannot serve ${shownPath(path)}: no client within`);
  // The disposal at the end rejects with the same failure.
  limit.signal.addEventListener("abort", () => void listener.close().catch(() => {}));
  limit.restart();

  let connections = 0;
  const serveClient = async (conn: Connection, number: number, steps: readonly Step[]) => {
    signal.addEventListener("abort", () => conn.close());
    const options = { sends: "to-client", timeout, endsAtDifference: true } as const;
    const [difference] = await play(conn, steps, options).finally(() => conn.close());
    // A client that was cut off did nothing wrong.
    if (signal.aborted) return;
    connections++;
    if (difference === undefined) return;
    differing.abort();
    await printDifference(flags, number, difference);
  };
  const serving = new Set<Promise<void>>();
  const waiting = [...recorded];
  for await (const conn of listener) {
    limit.pause();
    const served = serveClient(conn, ...waiting.shift()!).finally(() => {
      serving.delete(served);
      if (serving.size === 0) limit.restart();
    });
    serving.add(served);
    // A failure ends the loop below, or the command.
    handled(served);
    // There is nothing to play for others: refuse them at once.
    if (waiting.length === 0) await listener.close();
  }
  await Promise.all(serving);
  limit.signal.throwIfAborted();
  return { connections, differences: Number(differing.signal.aborted) };
}

/** Prints a difference, as text or as JSON. */
async function printDifference(
  { json, timeout }: ReplayFlags,
  connection: number,
  difference: Difference,
): Promise<void> {
  const silence = (timeout || TIMEOUT_MS) / 1000;
  await print(json ? toJson(connection, difference) : toText(connection, difference, silence));
}

function toJson(connection: number, { offset, expected, got, isSilent }: Difference): string {
  const sides = { expected: describe(expected, {}), got: describe(got, {}) };
  return `${json({ connection, offset, ...sides, ...(isSilent && { silent: true }) })}\n`;
}

/** @param silence How long, in seconds, a side may be silent. */
function toText(
  connection: number,
  { offset, expected, got, isSilent }: Difference,
  silence: number,
): string {
  const came = isSilent && got.length === 0 ? "" : shown(got);
  const wait = came === "" ? "nothing" : `${came}, then nothing`;
  const there = isSilent ? `${wait} for ${silence} s` : came;
  return `connection ${connection}, byte ${offset}: expected ${shown(expected)}, got ${there}\n`;
}

/** Returns the first bytes as quoted text, or in hexadecimal, and the number of the others. */
function shown(bytes: Uint8Array): string {
  if (bytes.length === 0) return "the end";
  const first = bytes.subarray(0, SHOWN_BYTES);
  const text = textOf(first);
  const more = bytes.length - first.length;
  return (text === undefined ? first.toHex() : printable(JSON.stringify(text))) +
    (more > 0 ? ` and ${more} bytes more` : "");
}
