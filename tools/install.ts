/**
 * Installs `uds` from this clone: `deno task install [--root DIR]`.
 *
 * - Arguments go to `deno install --global`, so `--root DIR` chooses the directory, and `--name`
 *   the name.
 * - `deno install` copies the configuration beside the program. Relative `links` and `imports` do
 *   not work from there, so the copy has absolute ones.
 * - The man pages go to `share/man/man1` of the same directory, where `man` looks if its `bin` is
 *   on the `PATH`.
 * - The result also works with only the npm registry. The clone must stay where it is.
 */

/** The permissions of an installed `uds`, as for the one from JSR. */
const PERMISSIONS = ["-RWN", "--allow-run", "--allow-env", "--allow-sys=uid"];

/** The parts of `deno.json` that a program of the clone needs to run. */
export interface Config {
  links?: string[];
  imports?: Record<string, string>;
}

/**
 * Returns the configuration of an installed program.
 *
 * @param config The configuration of the clone.
 * @param root The URL of the clone, with a final slash.
 */
export function installedConfig({ links = [], imports = {} }: Config, root: URL): Config {
  return {
    links: links.map((link) => decodeURIComponent(new URL(link, root).pathname)),
    imports: Object.fromEntries(
      Object.entries(imports).map(([name, target]) => [
        name,
        target.startsWith(".") ? new URL(target, root).href : target,
      ]),
    ),
  };
}

/** Returns the directory that `deno install` installs to, from its arguments. */
export function installRoot(args: readonly string[]): string {
  const at = args.findIndex((arg) => /^--root(=|$)/.test(arg));
  const given = at < 0 ? undefined : args[at]!.split("=")[1] ?? args[at + 1];
  return given ?? Deno.env.get("DENO_INSTALL_ROOT") ?? `${Deno.env.get("HOME")}/.deno`;
}

/** Writes the man pages, by the program itself. Returns its exit code. */
async function writeManPages(directory: string): Promise<number> {
  const cli = new URL("../cli.ts", import.meta.url).href;
  const args = ["run", "--quiet", "--no-lock", `--allow-write=${directory}`, cli, "man", "--quiet"];
  const child = new Deno.Command(Deno.execPath(), {
    args: [...args, "--dir", directory],
    stdin: "null",
  }).spawn();
  return (await child.status).code;
}

if (import.meta.main) {
  const root = new URL("../", import.meta.url);
  const config = installedConfig(
    JSON.parse(await Deno.readTextFile(new URL("deno.json", root))),
    root,
  );
  const directory = await Deno.makeTempDir({ prefix: "uds-install-" });
  try {
    const file = `${directory}/deno.json`;
    await Deno.writeTextFile(file, JSON.stringify(config, null, 2));
    const args = ["install", "--global", "--force", "--no-lock", "--config", file];
    const { code } = await new Deno.Command(Deno.execPath(), {
      args: [...args, ...PERMISSIONS, "--name", "uds", ...Deno.args, new URL("cli.ts", root).href],
      stdin: "null",
    }).spawn().status;
    Deno.exitCode = code || await writeManPages(`${installRoot(Deno.args)}/share/man/man1`);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
