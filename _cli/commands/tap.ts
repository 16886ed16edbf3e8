/** `uds tap LISTEN TARGET`: a relay that shows the bytes it passes on. */

import { QuietEnd } from "../exit_codes.ts";
import type { Endpoint } from "../parse/endpoint.ts";
import { GatheredOutput } from "../io/output.ts";
import { stopSignal } from "../io/signals.ts";
import { formatJson, formatText } from "../io/tap_lines.ts";
import { type TapEvent, tapped } from "../io/tapped_stream.ts";
import type { FramingFlags } from "../parse/options.ts";
import { checkFlags, type RelayFlags, serveRelay } from "./relay.ts";

export { needs } from "./relay.ts";

/** Its options. */
export type TapFlags = RelayFlags & FramingFlags;

/** The command. */
export async function run(flags: TapFlags, from: Endpoint, to: Endpoint): Promise<void> {
  checkFlags(flags, from, to);
  const stopped = stopSignal();
  // The output may lose its reader: `uds tap … | head`.
  const failed = new AbortController();
  const output = new GatheredOutput((error) => failed.abort(error));
  const format = Deno.stdout.isTerminal() && !flags.json ? formatText : formatJson;

  let count = 0;
  await serveRelay(flags, from, to, {
    signal: AbortSignal.any([stopped, failed.signal]),
    between(client, target) {
      const connection = ++count;
      const show = (event: TapEvent) =>
        output.add(format({ connection, time: new Date(), ...event }, flags));
      show({ event: "open" });
      const sides = {
        client: tapped(client, "to-target", flags, show),
        target: tapped(target, "to-client", flags, show),
      };
      return {
        ...sides,
        over(error) {
          sides.client.finish();
          sides.target.finish();
          show({ event: "close", ...(error instanceof Error && { reason: error.message }) });
        },
      };
    },
  });
  await output.flush();
  if (failed.signal.aborted && !(failed.signal.reason instanceof QuietEnd)) {
    throw failed.signal.reason;
  }
}
