import { assertEquals } from "@std/assert";
import { join } from "@std/path/posix";
import { Process } from "../_cli.ts";
import { ROOT, ROOT_URL, TempDir, test } from "../_helpers.ts";

const { exports, version } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json"))) as {
  exports: Record<string, string>;
  version: string;
};

/** Runs Deno in a directory. Returns its standard error if it fails, else an empty string. */
async function deno(args: string[], cwd: string, env?: Record<string, string>): Promise<string> {
  await using process = new Process([Deno.execPath(), ...args], {
    cwd,
    env: { NO_COLOR: "1", ...env },
  });
  const { code, stderr } = await process.ended;
  return code === 0 ? "" : stderr;
}

/** Returns a program that imports every export, and uses some. */
function program(specifierOf: (key: string) => string): string {
  const imports = Object.keys(exports).filter((key) => key !== "./cli").map((key, i) =>
    `export * as part${i} from ${JSON.stringify(specifierOf(key))};\n`
  );
  return `${imports.join("")}
import { connect, json, lines, messages, serve } from ${JSON.stringify(specifierOf("."))};
const server = await serve({ path: "/tmp/s.sock", mode: 0o660 }, async (conn, { draining }) => {
  for await (const message of messages(conn, json<number>(lines()), { draining })) void (message + 1);
});
await using conn = await connect({ path: "/tmp/s.sock", timeout: 1000 });
await conn.write(new Uint8Array(1));
await server.shutdown();
`;
}

/** Compiler options that users have and we do not. */
const PROJECTS: Record<string, Record<string, unknown>> = {
  "the default options": {},
  "exactOptionalPropertyTypes off": { exactOptionalPropertyTypes: false },
  "the types of browsers": { lib: ["dom", "dom.iterable", "dom.asynciterable", "deno.ns"] },
};

/** Fewer types than the package has, for projects in which Deno does not check its files. */
const ONLY_DENO = { lib: ["deno.ns"] };

for (const [name, compilerOptions] of Object.entries(PROJECTS)) {
  test(`a project with ${name} passes the check with a clone`, async () => {
    await using dir = new TempDir();
    const main = program((key) => new URL(exports[key] as string, ROOT_URL).href);
    await Deno.writeTextFile(dir.file("main.ts"), main);
    await Deno.writeTextFile(dir.file("deno.json"), JSON.stringify({ compilerOptions }));
    assertEquals(await deno(["check", "main.ts"], dir.path), "");
  }, { deadline: 30_000 });
}

test("a project passes the check with a packed copy, also with only Deno's types", async () => {
  await using dir = new TempDir();
  const packed = dir.file("uds.tgz");
  assertEquals(await deno(["pack", "--quiet", "--allow-dirty", "--output", packed], ROOT), "");
  const copy = dir.file("node_modules/@uds/uds");
  await Deno.mkdir(copy, { recursive: true });
  const args = ["xzf", packed, "-C", copy, "--strip-components=1"];
  assertEquals((await new Deno.Command("tar", { args }).output()).code, 0);
  await Deno.writeTextFile(dir.file("main.ts"), program((key) => `@uds/uds${key.slice(1)}`));
  await Deno.writeTextFile(
    dir.file("package.json"),
    JSON.stringify({ dependencies: { "@uds/uds": version } }),
  );
  for (const compilerOptions of [{}, ONLY_DENO]) {
    const config = { nodeModulesDir: "manual", compilerOptions };
    await Deno.writeTextFile(dir.file("deno.json"), JSON.stringify(config));
    assertEquals(await deno(["check", "main.ts"], dir.path), "", JSON.stringify(compilerOptions));
  }
}, { deadline: 60_000 });

test("a project with only Deno's types passes the check with an import over HTTP", async () => {
  await using dir = new TempDir();
  await using server = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    async (request) => {
      const { pathname } = new URL(request.url);
      const text = await Deno.readTextFile(join(ROOT, pathname));
      return new Response(text, { headers: { "content-type": "application/typescript" } });
    },
  );
  const host = `127.0.0.1:${server.addr.port}`;
  const main = program((key) => new URL(exports[key] as string, `http://${host}`).href);
  await Deno.writeTextFile(dir.file("main.ts"), main.replace(/\nimport[^]*/, "\n"));
  await Deno.writeTextFile(dir.file("deno.json"), JSON.stringify({ compilerOptions: ONLY_DENO }));
  const env = { DENO_DIR: dir.file("cache") };
  assertEquals(await deno(["check", `--allow-import=${host}`, "main.ts"], dir.path, env), "");
}, { deadline: 60_000 });
