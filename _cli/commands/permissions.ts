/** `uds permissions COMMAND …`: prints the least permissions of a command line. */

import { permissionFlags } from "../../permissions.ts";
import { print } from "../io/output.ts";
import type { CommonFlags } from "../parse/command.ts";
import { type Commands, parse } from "../parse/command_line.ts";
import { json, shellQuote } from "../text/printable.ts";

/** The command. */
export async function run(
  commands: Commands,
  flags: CommonFlags,
  line: readonly string[],
): Promise<void> {
  const parsed = await parse(line, commands);
  const set = typeof parsed === "string" ? {} : await parsed.needs();
  const words = ["deno", "run", ...permissionFlags(set), program(), ...line];
  await print(`${flags.json ? json(set) : words.map(quote).join(" ")}\n`);
}

/** Returns what `deno run` runs: the file that runs now, or the published one. */
function program(): string {
  const url = new URL("../../cli.ts", import.meta.url);
  return url.protocol === "file:" && !Deno.build.standalone
    ? decodeURIComponent(url.pathname)
    : "jsr:@uds/uds/cli";
}

/** Quotes a word for a shell, if it needs that. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : shellQuote(word);
}
