/** Messages of the library, with the options of the command line in their remedies. */

import { messageOf } from "../../_internal/base/failure.ts";

/** Remedies of the library that name its options, and those of the command line. */
const REMEDIES: readonly [RegExp, string][] = [
  [/(it imports "([^"\n]*)\/[^"\n]*", .*)pass modules: \[.*\]/, '$1pass --allow "read=$2"'],
  [/pass permissions: \{ import: \["([^"\n]*)"\] \}/, "pass --allow import=$1"],
  [/pass config: new URL\([^)\n]*\)/, "pass --config deno.json"],
  [/Raise startTimeout, or await/, "Await"],
  [/Raise (?:maxBytes of the codec|maxPacketBytes)$/, "No option raises it"],
];

/** Returns the message of an error, with the remedy that a command has. */
export function commandMessage(error: unknown): string {
  return REMEDIES.reduce((text, [remedy, flag]) => text.replace(remedy, flag), messageOf(error));
}
