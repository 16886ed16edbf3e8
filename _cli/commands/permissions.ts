/** `uds permissions COMMAND …`: the least permissions of a command line. */

import { permissionFlags } from "../../permissions.ts";
import { parse } from "../parse/command_line.ts";
import { OK } from "../exit_codes.ts";
import { print } from "../io/output.ts";
import { json } from "../text/printable.ts";
import type { CommonFlags } from "../io/reporter.ts";

/** The command. */
export async function printPermissions(flags: CommonFlags, ...args: string[]): Promise<number> {
  const parsed = await parse(args);
  const set = typeof parsed === "string" ? {} : await parsed.needs();
  if (flags.json) {
    await print(`${json(set)}\n`);
  } else {
    const line = ["deno", "run", ...permissionFlags(set), program(), ...args];
    await print(`${line.map(quote).join(" ")}\n`);
  }
  return OK;
}

/** What `deno run` is to run: the file that runs now, or the published one. */
function program(): string {
  const url = new URL("../../cli.ts", import.meta.url);
  return url.protocol === "file:" && !Deno.build.standalone
    ? decodeURIComponent(url.pathname)
    : "jsr:@uds/uds/cli";
}

/** A word as a shell reads it. */
function quote(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
