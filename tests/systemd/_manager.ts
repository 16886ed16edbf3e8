/** A program that runs under a stand-in for the manager. */

import { denoArgs, fixturePath, Program, type ProgramOptions } from "../_helpers.ts";

/** What the stand-in recorded, or what the program printed. */
export interface Line {
  lines?: string[];
  isMain?: boolean;
  code?: number;
  /** Which of its two sockets the stand-in has received it at. */
  to?: "path" | "name";
  [name: string]: unknown;
}

/** Runs a program of `tests/fixtures` under a manager at a path, and returns the lines. */
export async function underManager(
  path: string,
  script: string,
  flags: string[],
  args: string[] = [],
  options: ProgramOptions = {},
): Promise<Line[]> {
  const program = [Deno.execPath(), ...denoArgs(script, flags, args)];
  const command = [fixturePath("systemd_manager.py"), path, ...program];
  await using manager = new Program("python3", command, options);
  return (await manager.output()).map((line) => JSON.parse(line));
}
