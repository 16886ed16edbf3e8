/** `uds probe PATH`: prints the state of a path. */

import { octal } from "../../_internal/base/file.ts";
import type { SocketPath } from "../../address.ts";
import { probe } from "../../probe.ts";
import { STATE_CODES } from "../exit_codes.ts";
import { print } from "../io/output.ts";
import { reporter } from "../io/reporter.ts";
import type { CommonFlags } from "../parse/command.ts";
import { shownPath } from "../parse/parameters.ts";
import { json } from "../text/printable.ts";

/** The command. */
export async function run(flags: CommonFlags, path: SocketPath): Promise<number> {
  const { state, mode, uid, gid, holder } = await probe(path);
  const shownMode = mode === undefined ? undefined : octal(mode);
  if (flags.json) {
    const found = { path: shownPath(path), state, uid, gid, holder, mode: shownMode };
    await print(`${json(found)}\n`);
  } else if (!flags.quiet) {
    await print(`${state}\n`);
    const details = [
      state === "other-type" && "a datagram or sequenced-packet socket",
      mode !== undefined && `mode ${shownMode}`,
      uid !== undefined && `owner ${uid}:${gid}`,
      holder !== undefined && `held by process ${holder}`,
    ].filter((detail) => detail !== false);
    if (details.length > 0) reporter.say(details.join(", "), {});
  }
  return STATE_CODES[state];
}
