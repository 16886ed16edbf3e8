/**
 * Publishing, with the packages of JSR in the place of the stand-ins of a clone (`links/`).
 *
 * - Without arguments it simulates publishing. That needs no network, so the stand-ins stay, and
 *   are included.
 * - With `--write` it writes the published `deno.json`: its `imports` name packages of JSR.
 */

/** The parts of `deno.json` that matter here. The rest is kept. */
export interface Config {
  imports: Record<string, string>;
  publish: { include: string[] };
  [key: string]: unknown;
}

/** Returns the configuration that is published. */
export function publishedConfig(config: Config, packages: Record<string, string>): Config {
  const own = Object.entries(config.imports).filter(([name, target]) =>
    !target.startsWith("./links/") && name !== "deno-std"
  );
  return { ...config, imports: { ...packages, ...Object.fromEntries(own) } };
}

async function simulate(config: Config): Promise<number> {
  config.publish.include.push("links");
  const file = `deno.publish.${Deno.pid}.json`;
  await Deno.writeTextFile(file, JSON.stringify(config));
  try {
    const args = ["publish", "--dry-run", "--allow-dirty", "--config", file];
    const child = new Deno.Command(Deno.execPath(), { args, stdin: "null" }).spawn();
    return (await child.status).code;
  } finally {
    await Deno.remove(file);
  }
}

if (import.meta.main) {
  const config = JSON.parse(await Deno.readTextFile("deno.json"));
  if (Deno.args.includes("--write")) {
    const packages = JSON.parse(await Deno.readTextFile("links/jsr.json"));
    await Deno.writeTextFile(
      "deno.json",
      JSON.stringify(publishedConfig(config, packages), null, 2) + "\n",
    );
  } else {
    Deno.exitCode = await simulate(config);
  }
}
