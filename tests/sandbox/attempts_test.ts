import { TempDir, test } from "../_helpers.ts";
import { assertOutcome, Hostile, NAMES, saidJson } from "./_sandbox.ts";

/** The outcome of every attempt. All tests share one run. */
let pass: Promise<Record<string, string>> | undefined;

async function attemptAll(): Promise<Record<string, string>> {
  await using hostile = new Hostile();
  const url = await hostile.prepare();
  const args = [JSON.stringify(hostile.targets)];
  const config = new URL("deno.json", url);
  // The content of Deno's cache, for example esbuild, must make no difference.
  await using cache = new TempDir();
  const env = { DENO_DIR: cache.path };
  const report = await saidJson(url, { args, config, env, stdout: "null", stderr: "null" });
  await hostile.assertUntouched();
  return report as Record<string, string>;
}

for (const name of NAMES) {
  test(`pair(module) refuses a module of a parent with every permission: ${name}`, async () => {
    pass ??= attemptAll();
    assertOutcome(name, (await pass)[name]);
  }, { deadline: 20_000 });
}
