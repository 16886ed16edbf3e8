/** The flags of the examples, which the tests of all examples share. */

import { libcPath } from "../../_internal/libc/library.ts";
import { withCacheVariables } from "../../tools/examples.ts";
import { PROJECT, ROOT } from "../_helpers.ts";

/** Returns the flags that an example names, for another directory than `/tmp`. */
export async function flagsOf(name: string, dir: string): Promise<string[]> {
  const text = await Deno.readTextFile(`${PROJECT}/examples/${name}`);
  const header = text.split("*/")[0]!.replace(/\n \*/g, "");
  const [, flags = ""] = new RegExp(`deno run (.*?) examples/${name}`).exec(header) ?? [];
  const above = dir.split("/").map((_, i, parts) => parts.slice(0, i + 1).join("/")).slice(1);
  const here = flags
    .replaceAll("/lib/x86_64-linux-gnu/libc.so.6", libcPath())
    .replaceAll("/tmp/", `${dir}/`)
    .replaceAll(",/tmp", `,${above.join(",")}`);
  return (PROJECT === ROOT ? here : withCacheVariables(here)).split(/\s+/);
}
