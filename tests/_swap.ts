/** An attack on a path: another user swaps its name for a link while servers start there. */

import { assertEquals } from "@std/assert";
import { fixture, fixturePath, Program, run, TempDir } from "./_helpers.ts";

const AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/** The target of an attack. */
export interface SwapTarget {
  how: "listen" | "claim";
  options: Record<string, unknown>;
  /** The minimum duration, in milliseconds. */
  ms: number;
  /** The minimum number of starts. */
  starts: number;
  /** The permission flags of Deno; all permissions by default. */
  flags?: (path: string, victim: string) => string[];
}

/** The outcome of an attack. */
export interface SwapOutcome {
  /** How often a start changed the mode, owner or size of the victim. */
  changed: number;
  /** Counts by the name of the error, or `none`. `(raw)` marks errors that are not of uds. */
  outcomes: Record<string, number>;
  /** How often the other user swapped the names. */
  swaps: number;
}

/** Runs an attack and counts its outcomes. */
export async function attackBySwaps(target: SwapTarget): Promise<SwapOutcome> {
  await using dir = new TempDir(0o755);
  await using home = new TempDir();
  const open = dir.file("open");
  Deno.mkdirSync(open);
  Deno.chmodSync(open, 0o777);
  const swapper = dir.file("swapper");
  const built = await run("gcc", ["-O1", "-o", swapper, fixturePath("swap_name.c")]);
  assertEquals(built, { code: 0, stdout: "", stderr: "" });
  const victim = home.file("victim");
  Deno.writeTextFileSync(victim, "precious", { mode: 0o600 });
  const path = `${open}/a.sock`;
  const name = target.options.publish === "rename" ? "a.sock.new" : "a.sock";
  await using other = new Program("setpriv", [...AS_NOBODY, swapper, open, name, victim], {
    stdin: "piped",
  });
  assertEquals(await other.line(), "swapping");
  const { how, options, ms, starts, flags } = target;
  const task = { path, victim, how, options, ms, starts };
  await using server = fixture("swap_victim.ts", flags?.(path, victim) ?? ["-A"], [
    JSON.stringify(task),
  ]);
  const result = JSON.parse(await server.line());
  await other.stdin.close();
  return { ...result, swaps: Number(await other.line()) };
}
