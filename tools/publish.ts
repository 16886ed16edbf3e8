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

/**
 * Publishes with the stand-ins.
 *
 * @param args Further arguments of `deno publish`.
 * @param stdio Whether its output is printed, or returned.
 * @param env Further variables of its environment.
 */
export async function publish(
  args: string[],
  stdio: "inherit" | "piped",
  env: Record<string, string> = {},
): Promise<Deno.CommandOutput> {
  const config = JSON.parse(await Deno.readTextFile("deno.json")) as Config;
  config.publish.include.push("links");
  const file = `deno.publish.${Deno.pid}.json`;
  await Deno.writeTextFile(file, JSON.stringify(config));
  try {
    return await new Deno.Command(Deno.execPath(), {
      args: ["publish", "--allow-dirty", "--config", file, ...args],
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: stdio,
      stderr: stdio,
    }).output();
  } finally {
    await Deno.remove(file);
  }
}

/** Returns the paths of the files that would be published, the stand-ins included. */
export async function publishedFiles(): Promise<string[]> {
  const { success, stdout, stderr } = await publish(["--dry-run"], "piped");
  const output = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)).join("");
  if (!success) throw new Error(`the dry run failed:\n${output}`);
  const root = new URL("../", import.meta.url).href;
  return [...output.matchAll(/^ +(file:\S+) \(/gm)].map(([, url = ""]) => url)
    .filter((url) => url.startsWith(root)).map((url) => decodeURI(url.slice(root.length)))
    .map((path) => /^deno\.publish\.\d+\.json$/.test(path) ? "deno.json" : path);
}

if (import.meta.main) {
  if (Deno.args.includes("--write")) {
    const config = JSON.parse(await Deno.readTextFile("deno.json"));
    const packages = JSON.parse(await Deno.readTextFile("links/jsr.json"));
    await Deno.writeTextFile(
      "deno.json",
      JSON.stringify(publishedConfig(config, packages), null, 2) + "\n",
    );
  } else {
    Deno.exitCode = (await publish(["--dry-run"], "inherit")).code;
  }
}
