/** An attack on a path: another user swaps its name for a link while servers start there. */

import { assertEquals } from "@std/assert";
import { fixture, fixturePath, Program, run, TempDir } from "./_helpers.ts";

const AS_NOBODY = ["--reuid=65534", "--regid=65534", "--clear-groups"];

/** What is attacked. */
export interface SwapTarget {
  how: "listen" | "claim";
  options: Record<string, unknown>;
  /** How long it lasts at least, in milliseconds. */
  ms: number;
  /** How many starts there are at least. */
  starts: number;
  /** The flags of Deno; all permissions by default. */
  flags?: (path: string, victim: string) => string[];
}

/** What came of it. */
export interface SwapOutcome {
  /** How often the victim had another mode, owner or size after a start. */
  changed: number;
  /** The names of the errors of the starts, and `none`; `(raw)` where one does not have our shape. */
  outcomes: Record<string, number>;
  /** How often the other user swapped. */
  swaps: number;
}

/** Runs an attack. */
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
