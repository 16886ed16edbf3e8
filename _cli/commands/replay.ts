/** `uds replay FILE PATH`: plays the clients of a recording, and compares the answers. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import type { SocketPath } from "../../address.ts";
import { permissions } from "../../permissions.ts";
import { FAILURE, OK, UsageError } from "../exit_codes.ts";
import { connectStream } from "../io/connect_stream.ts";
import { describe, textOf } from "../io/framing.ts";
import { print } from "../io/output.ts";
import { play } from "../io/played.ts";
import { readRecording } from "../io/recording.ts";
import { reporter } from "../io/reporter.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import type { ConnectingFlags } from "../parse/options.ts";
import type { Difference } from "../text/differences.ts";
import { json, printable } from "../text/printable.ts";
import { connectOptions } from "./connect.ts";

/** Its options. */
export type ReplayFlags = CommonFlags & ConnectingFlags & {
  readonly connection?: number;
};

const TIMEOUT_MS = 5000;
/** The maximum number of bytes of a difference to print. */
const SHOWN_BYTES = 32;

/** Returns the Deno permissions that it needs. */
export function needs(_: ReplayFlags, file: string, path: SocketPath): Needs {
  return union([{ read: [file] }, permissions("connect", path)]);
}

/** The command. */
export async function run(flags: ReplayFlags, file: string, path: SocketPath): Promise<number> {
  requireGrants("Cannot replay", needs(flags, file, path), { operation: "replay", path: null });
  const recording = await readRecording(file);
  const { connection: only } = flags;
  if (only !== undefined && !recording.has(only)) {
    throw new UsageError(`--connection must be one of ${[...recording.keys()].join(", ")}`);
  }
  const played = [...recording].filter(([connection]) => only === undefined || connection === only);
  let count = 0;
  for (const [connection, steps] of played) {
    await using conn = await connectStream(connectOptions(flags, path));
    const found = await play(conn, steps, flags.timeout || TIMEOUT_MS);
    count += found.length;
    for (const difference of found) {
      await print(flags.json ? toJson(connection, difference) : toText(connection, difference));
    }
  }
  const data = { event: "replayed", connections: played.length, differences: count };
  reporter.say(`connections: ${played.length}, differences: ${count}`, data);
  return count === 0 ? OK : FAILURE;
}

function toJson(connection: number, { offset, expected, got }: Difference): string {
  const sides = { expected: describe(expected, {}), got: describe(got, {}) };
  return `${json({ connection, offset, ...sides })}\n`;
}

function toText(connection: number, { offset, expected, got }: Difference): string {
  return `connection ${connection}, byte ${offset}: expected ${shown(expected)}, got ${
    shown(got)
  }\n`;
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
