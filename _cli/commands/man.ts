/** `uds man [COMMAND]`: man pages, from the table of commands. */

import { requireGrants } from "../../_internal/base/deno_permissions.ts";
import { UsageError } from "../exit_codes.ts";
import { print } from "../io/output.ts";
import { reporter } from "../io/reporter.ts";
import type { CommonFlags, Needs } from "../parse/command.ts";
import type { Commands } from "../parse/command_line.ts";
import { PROGRAM } from "../parse/help.ts";
import { manPages } from "../parse/man_pages.ts";
import { explained } from "../text/failure.ts";
import { didYouMean } from "../text/suggestion.ts";

/** Its options. */
export type ManFlags = CommonFlags & {
  readonly dir?: string;
};

/** Returns the Deno permissions that it needs. */
export function needs({ dir }: ManFlags): Needs {
  return dir === undefined ? {} : { write: [dir] };
}

/** The command. */
export async function run(commands: Commands, flags: ManFlags, name?: string): Promise<void> {
  const { default: { version } } = await import("../../deno.json", { with: { type: "json" } });
  const pages = manPages(commands, PROGRAM, version);
  const { dir } = flags;
  if (dir !== undefined && name !== undefined) {
    throw new UsageError("--dir writes all pages: leave out COMMAND");
  }
  if (dir === undefined) {
    const wanted = name === undefined ? "uds.1" : `uds-${name}.1`;
    const page = pages.find(({ file }) => file === wanted);
    if (page === undefined) {
      const meant = didYouMean(name as string, [...commands.keys()]);
      throw new UsageError(`unknown command ${JSON.stringify(name)}${meant}`);
    }
    return await print(page.text);
  }
  requireGrants("Cannot write man pages", needs(flags), { operation: "man", path: null });
  await explained(`Cannot write to ${JSON.stringify(dir)}`, async () => {
    await Deno.mkdir(dir, { recursive: true });
    for (const { file, text } of pages) await Deno.writeTextFile(`${dir}/${file}`, text);
  });
  reporter.say(`wrote ${pages.length} pages to ${dir}`, { event: "written", pages: pages.length });
}
