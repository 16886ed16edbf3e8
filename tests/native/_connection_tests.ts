/** Runs the tests of connections once more, over connections that look for bytes at every read. */

import { assertEquals } from "@std/assert";
import { ROOT, ROOT_URL, run, TempDir } from "../_helpers.ts";

interface Config {
  imports: Record<string, string>;
  compilerOptions: unknown;
}

/** Runs files or directories of `tests`, which get the library of `_looking.ts`. */
export async function testLooking(paths: string[]): Promise<void> {
  await using dir = new TempDir();
  const { imports, compilerOptions }: Config = JSON.parse(
    await Deno.readTextFile(`${ROOT}/deno.json`),
  );
  const absolute = Object.entries(imports).map(([name, target]) => [
    name,
    target.startsWith("./") ? new URL(target, ROOT_URL).href : target,
  ]);
  const config = {
    imports: { ...Object.fromEntries(absolute), "@uds/uds": `${ROOT_URL}tests/native/_looking.ts` },
    compilerOptions,
  };
  await Deno.writeTextFile(dir.file("deno.json"), JSON.stringify(config));
  const { code, stdout, stderr } = await run(Deno.execPath(), [
    ...["test", "-A", "--no-check", "--no-lock", "--quiet"],
    ...["--sanitize-ops", "--sanitize-resources", "--config", dir.file("deno.json")],
    ...paths.map((path) => `${ROOT}/${path}`),
  ]);
  assertEquals(code, 0, stdout.slice(-8000) + stderr.slice(-2000));
}
