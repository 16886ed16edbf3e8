/** Programs of npm, with a configuration of their own: a clone does not download them otherwise. */

import { type Child, pair } from "@uds/uds";
import { join } from "@std/path/posix";
import { ROOT } from "../_helpers.ts";

const DIRECTORY = join(ROOT, "tests/interop/peers");
const { imports } = JSON.parse(Deno.readTextFileSync(join(DIRECTORY, "deno.json"))) as {
  imports: Record<string, string>;
};

/** Returns the command line of a package, or of a script beside the configuration. */
export function peerCommand(name: string, args: string[] = []): string[] {
  const program = imports[name] ?? join(DIRECTORY, name);
  const config = ["--config", join(DIRECTORY, "deno.json"), "--frozen"];
  return [Deno.execPath(), "run", "--quiet", "-A", ...config, program, ...args];
}

/** Returns the version of a package. */
export function packageVersion(name: string): string {
  return imports[name]!.split("@").at(-1)!;
}

/** Starts a package or a script with the socket as its standard input and output. */
export function startPeer(
  name: string,
  args: string[] = [],
  env: Record<string, string> = {},
): Promise<Child> {
  const [program = "", ...rest] = peerCommand(name, args);
  return pair(program, { args: rest, env, socket: "stdio", stderr: "piped" });
}
