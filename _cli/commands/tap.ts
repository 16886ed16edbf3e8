/** `uds tap LISTEN TARGET`: a relay that shows the bytes it passes on. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import { absolutePath } from "../../_internal/base/path.ts";
import { resolveSocketPath } from "../../address.ts";
import type { Connection } from "../../connection.ts";
import { QuietEnd, UsageError } from "../exit_codes.ts";
import type { Endpoint } from "../parse/endpoint.ts";
import { identityNeeds, loadNative } from "../io/identity.ts";
import { GatheredOutput } from "../io/output.ts";
import { Recorder } from "../io/recorder.ts";
import { stopSignal } from "../io/signals.ts";
import { formatJson, formatText } from "../io/tap_lines.ts";
import { type Direction, type TapEvent, tapped } from "../io/tapped_stream.ts";
import type { Needs } from "../parse/command.ts";
import { union } from "../parse/deno_permissions.ts";
import type { FramingFlags } from "../parse/options.ts";
import {
  checkFlags,
  needs as relayNeeds,
  type RelayFlags,
  seesDescriptors,
  serveRelay,
} from "./relay.ts";

/** Its options. */
export type TapFlags = RelayFlags & FramingFlags & {
  readonly peer?: boolean;
  readonly output?: string;
};

/** Returns the Deno permissions that it needs. */
export async function needs(flags: TapFlags, from: Endpoint, to: Endpoint): Promise<Needs> {
  return union([
    relayNeeds(flags, from, to),
    flags.peer ? await identityNeeds() : {},
    fileNeeds(flags),
  ]);
}

/** Deno allows `stat` of an open file only to a program that may read it. */
function fileNeeds({ output }: TapFlags): Needs {
  return output === undefined ? {} : { read: [output], write: [output] };
}

/** Throws if `--output` is not a file, or one that LISTEN needs. */
function checkOutput({ output }: TapFlags, from: Endpoint): void {
  if (output === undefined) return;
  const got = `got ${JSON.stringify(output)}`;
  if (output === "") throw new UsageError(`--output must be a file, ${got}`);
  if (output === "-") {
    const remedy = "--json prints the events on standard output";
    throw new UsageError(`--output must be a file, ${got}. ${remedy}`);
  }
  if (from.scheme !== "unix") return;
  const listen = resolveSocketPath(from.path);
  if ([listen, `${listen}.lock`].includes(absolutePath(output))) {
    throw new UsageError(`--output must not be LISTEN or its lock, ${got}`);
  }
}

/** The command. */
export async function run(flags: TapFlags, from: Endpoint, to: Endpoint): Promise<void> {
  checkFlags(flags, from, to);
  checkOutput(flags, from);
  if (flags.peer && from.scheme !== "unix") throw new UsageError("--peer is for a LISTEN unix:");
  const native = flags.peer ? await loadNative("tap", await needs(flags, from, to)) : undefined;
  // The output may lose its reader: `uds tap … | head`.
  const failed = new AbortController();
  const output = new GatheredOutput((error) => failed.abort(error));
  requireGrants("Cannot record", fileNeeds(flags), { operation: "tap", path: null });
  await using file = flags.output === undefined
    ? undefined
    : await Recorder.open(flags.output, (error) => failed.abort(error));
  // After the file: opening a pipe waits for a reader. Until then a signal must end this process.
  const stopped = stopSignal();
  const format = Deno.stdout.isTerminal() && !flags.json ? formatText : formatJson;

  const hasDescriptors = flags.descriptors ?? seesDescriptors(from, to);
  const descriptors = hasDescriptors ? await import("../io/descriptor_stream.ts") : undefined;
  const isPassed = flags.descriptors === true;

  let count = 0;
  await serveRelay(flags, from, to, {
    signal: AbortSignal.any([stopped, failed.signal]),
    hasDescriptors,
    onListen: () => file?.start(),
    between(client, target) {
      const connection = ++count;
      const timed = (event: TapEvent) => ({ connection, time: new Date(), ...event });
      const record = (event: TapEvent) => file?.add(timed(event));
      const show = (event: TapEvent) => output.add(format(timed(event), flags));
      const showAndRecord = (event: TapEvent) => {
        record(event);
        return show(event);
      };
      // A client of a path is a Connection.
      const peer = native?.peerCredentials(client as Connection);
      showAndRecord({ event: "open", ...(peer && { peer }) });
      const seen = (direction: Direction, count: number) =>
        showAndRecord({
          event: "descriptors",
          direction,
          count,
          ...(!isPassed && { dropped: true }),
        });
      const inner = descriptors?.withDescriptors(client, target, { isPassed, seen });
      const sides = {
        client: tapped(inner?.client ?? client, "to-target", flags, show, record),
        target: tapped(inner?.target ?? target, "to-client", flags, show, record),
      };
      return {
        ...sides,
        over(error) {
          sides.client.finish();
          sides.target.finish();
          showAndRecord({
            event: "close",
            ...(error instanceof Error && { reason: error.message }),
          });
        },
      };
    },
  });
  await output.flush();
  if (failed.signal.aborted && !(failed.signal.reason instanceof QuietEnd)) {
    throw failed.signal.reason;
  }
}
