/** `uds probe PATH`: what is there? */

import type { SocketPath } from "../../address.ts";
import { probe as look } from "../../probe.ts";
import { STATE_CODES } from "../exit_codes.ts";
import { octal, shownPath } from "../parse/parameters.ts";
import { print } from "../io/output.ts";
import { json } from "../text/printable.ts";
import { type CommonFlags, Talk } from "../io/reporter.ts";

/** The command. */
export async function probe(flags: CommonFlags, path: SocketPath): Promise<number> {
  const { state, mode, uid, gid, holder } = await look(path);
  if (flags.json) {
    const found = { path: shownPath(path), state, uid, gid, holder };
    const shown = mode === undefined ? found : { ...found, mode: octal(mode) };
    await print(`${json(shown)}\n`);
  } else if (!flags.quiet) {
    await print(`${state}\n`);
    const details = [
      mode !== undefined && `mode ${octal(mode)}`,
      uid !== undefined && `owner ${uid}:${gid}`,
      holder !== undefined && `held by process ${holder}`,
    ].filter((detail) => detail !== false);
    if (details.length > 0) new Talk(flags).say(details.join(", "), {});
  }
  return STATE_CODES[state];
}
