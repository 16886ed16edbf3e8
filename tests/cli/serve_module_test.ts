import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { connect } from "@uds/uds";
import { FLAGS, Process, uds, udsCommand } from "../_cli.ts";
import { decode, encode, readAll, readText, TempDir, test } from "../_helpers.ts";

const RUN_FLAGS = [...FLAGS, "--allow-run", "--allow-env"];

/** Starts the command, and waits until it listens. */
async function serving(args: string[]): Promise<Process> {
  const process = new Process(udsCommand(["serve", ...args], RUN_FLAGS));
  await process.stderr.until("listening on");
  return process;
}

/** Writes a module that answers with a version, its process and what it may not do. */
async function write(file: string, version: number): Promise<void> {
  await Deno.writeTextFile(
    file,
    `export default { async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/exit") Deno.exit(3);
      const read = await Deno.readTextFile(pathname).catch((error) => error.name);
      return Response.json([${version}, Deno.pid, read]);
    } };`,
  );
}

/** Asks for a resource on a new connection. */
async function get(path: string, resource: string): Promise<unknown> {
  await using conn = await connect(path);
  const request = `GET ${resource} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`;
  await conn.write(encode(request));
  const [, body] = decode(await readAll(conn)).split("\r\n\r\n");
  return body && JSON.parse(body);
}

test("uds serve --module serves by processes, reloads at SIGHUP, and ends at SIGTERM", async () => {
  await using dir = new TempDir();
  await using other = new TempDir();
  const [path, file, secret] = [dir.file("m.sock"), dir.file("m.ts"), other.file("secret")];
  await Deno.writeTextFile(secret, "s");
  await write(file, 1);
  await using server = await serving(["--workers", "2", "--module", file, path]);
  const [version, , read] = await get(path, secret) as unknown[];
  assertEquals([version, read], [1, "NotCapable"]);

  server.kill("SIGUSR2");
  await server.stderr.until("0 lost");
  assertEquals(
    (await server.stderr.text()).match(/^worker \d+: 0 open, \d+ accepted$/gm)?.length,
    2,
  );

  await write(file, 2);
  server.kill("SIGHUP");
  await server.stderr.until("reloaded");
  assertEquals((await get(path, secret) as unknown[])[0], 2);

  await get(path, "/exit");
  await server.stderr.until("exited with code 3. Another one is started");
  server.kill("SIGTERM");
  const { code, stderr } = await server.ended;
  assertEquals(code, 0);
  assertMatch(stderr, /\nending\n$/);
  assertEquals(dir.list(), ["m.ts"]);
}, { deadline: 20_000 });

test("uds serve --module --allow adds Deno permissions of the module", async () => {
  await using dir = new TempDir();
  await using other = new TempDir();
  const [path, file, open] = [dir.file("m.sock"), dir.file("m.ts"), other.file("open")];
  await Deno.writeTextFile(open, "content");
  await write(file, 1);
  await using _server = await serving([
    "--module",
    file,
    "--allow",
    `read=${other.path} env`,
    path,
  ]);
  assertEquals((await get(path, open) as unknown[])[2], "content");
});

test("uds serve --module with a handler of connections", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("m.sock"), dir.file("m.ts")];
  await Deno.writeTextFile(file, "export const connection = (c) => c.readable.pipeTo(c.writable);");
  await using _server = await serving(["--module", file, path]);
  await using conn = await connect(path);
  await conn.write(encode("hello"));
  assertEquals(await readText(conn), "hello");
});

test("uds serve --module --config has the imports of a deno.json", async () => {
  await using dir = new TempDir();
  const [path, file, config] = [dir.file("m.sock"), dir.file("m.ts"), dir.file("deno.json")];
  await Deno.writeTextFile(file, `export { connection } from "mapped";`);
  await Deno.writeTextFile(dir.file("a.ts"), "export const connection = (c) => c.writeText('hi');");
  await Deno.writeTextFile(config, `{ "imports": { "mapped": "./a.ts" } }`);
  await using _server = await serving(["--module", file, "--config", config, path]);
  await using conn = await connect(path);
  assertEquals(await readText(conn), "hi");
});

test("uds serve --module names an option of the command line as a remedy", async () => {
  await using dir = new TempDir();
  await using other = new TempDir();
  await Deno.writeTextFile(other.file("a.ts"), "export const a = 1;");
  const imports: [string, string][] = [
    ["mapped", 'Import "jsr:…" or "npm:…" in full, or pass --config deno.json\n'],
    ["npm:@uds/absent@9", 'If the "links" of a deno.json have it, pass --config deno.json\n'],
    [other.file("a.ts"), `If it should, pass --allow "read=${other.path}"\n`],
  ];
  await Promise.all(imports.map(async ([name, remedy], i) => {
    const [path, file] = [dir.file(`${i}.sock`), dir.file(`${i}.ts`)];
    await Deno.writeTextFile(file, `import ${JSON.stringify(name)};`);
    const { code, stderr } = await uds(["serve", "--module", file, path], { flags: RUN_FLAGS });
    assertEquals(code, 1);
    assertStringIncludes(stderr, remedy);
  }));
});

test("uds serve --module names what is wrong", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("m.sock"), dir.file("m.ts")];
  const mistakes: [args: string[], message: string][] = [
    [["--module", file, path, "--", "cat"], "CMD and --module do not go together"],
    [["--module", file, "--reply", "a", path], "--reply and --module do not go together"],
    [["--module", file, "--peer-env", path], "--module and --peer-env do not go together"],
    [["--workers", "2", path, "--", "cat"], "--workers needs --module"],
    [["--workers", "2", path], "--workers needs --module"],
    [["--allow", "env", path], "--allow needs --module"],
    [["--config", "deno.json", path], "--config needs --module"],
    [["--workers", "0", "--module", file, path], "--workers must be a whole number"],
    [["--allow", "all", "--module", file, path], "--allow must be KIND or KIND=VALUES"],
    [["--module", "", path], '--module must be the path of a file, got ""'],
    [["--module", file, "--config", "", path], '--config must be the path of a file, got ""'],
    ...["https://a.example/m.ts", "file:///m.ts", "jsr:@a/b", "npm:a"].map((
      url,
    ): [string[], string] => [
      ["--module", url, path],
      `--module must be the path of a file, not a URL, got "${url}"`,
    ]),
  ];
  await Promise.all(mistakes.map(async ([args, message]) => {
    const { code, stderr } = await uds(["serve", ...args], { flags: RUN_FLAGS });
    assertStringIncludes(stderr, message);
    assertEquals(code, 2);
  }));
  await Deno.writeTextFile(file, "export const a = 1;");
  const { code, stderr } = await uds(["serve", "--module", file, path], { flags: RUN_FLAGS });
  assert(code !== 0);
  assertStringIncludes(stderr, 'm.ts": it exports neither a function "connection" nor');
  assertEquals(dir.list(), ["m.ts"]);
});

test("uds serve --module names what is wrong with a file that cannot be loaded", async () => {
  await using dir = new TempDir();
  const [path, waits, imports, ok] = ["m.sock", "waits.ts", "imports.ts", "ok.ts"].map((name) =>
    dir.file(name)
  ) as [string, string, string, string];
  await Deno.mkdir(dir.file("lib"));
  await Deno.writeTextFile(waits, "await new Promise(() => {});");
  await Deno.writeTextFile(imports, 'import "./lib";');
  await write(ok, 1);
  const load = (file: string) => `uds: Cannot load the module "file://${file}": `;
  const ended = `${load(waits)}it ended before it was loaded, with exit code 1`;
  const faults: [args: string[], code: number, message: string][] = [
    [["--module", dir.path], 1, `${load(dir.path)}it is a directory\n`],
    [["--module", imports], 1, `it imports "${dir.file("lib")}", which is a directory`],
    [["--module", dir.file("none.ts")], 1, `Module not found "file://${dir.file("none.ts")}"\n`],
    [["--module", waits], 1, `at <anonymous> (file://${waits}:1:1)\n${ended}`],
    [["--module", ok, "--config", "none.json"], 3, 'uds: Cannot read "none.json": No such file'],
    [["--module", ok, "--config", dir.path], 1, `uds: Cannot read "${dir.path}": Is a directory`],
  ];
  await Promise.all(faults.map(async ([args, code, message], i) => {
    const result = await uds(["serve", ...args, `${path}${i}`], { flags: RUN_FLAGS });
    assertStringIncludes(result.stderr, message);
    assertEquals(result.code, code);
    // Its own program is not shown.
    assert(!result.stderr.includes("data:"), result.stderr);
  }));
}, { deadline: 20_000 });

test("uds serve --module goes on after a reload of a file that is missing", async () => {
  await using dir = new TempDir();
  const [path, file] = [dir.file("m.sock"), dir.file("m.ts")];
  await write(file, 1);
  await using server = await serving(["--module", file, path]);
  await Deno.remove(file);
  server.kill("SIGHUP");
  await server.stderr.until("go on\n");
  assertStringIncludes(await server.stderr.text(), `Module not found "file://${file}". The `);
  assertEquals((await get(path, "/") as unknown[])[0], 1);
});
