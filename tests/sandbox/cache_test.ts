import { pair } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { decode, fixture, TempDir, test } from "../_helpers.ts";
import { moduleOf, said, saidJson, saying, STOLEN, write } from "./_sandbox.ts";

/** Settings with which Deno allows imports of everything below any `node_modules`. */
const PACKAGES: Record<string, Record<string, string>> = {
  "nodeModulesDir": { "own/deno.json": `{ "nodeModulesDir": "manual" }` },
  "a package.json": { "own/deno.json": "{}", "own/package.json": `{ "name": "w" }` },
  "unstable byonm": { "own/deno.json": `{ "unstable": ["byonm"] }` },
};

for (const [name, files] of Object.entries(PACKAGES)) {
  test(`pair(module) keeps it from the packages of other projects: ${name}`, async () => {
    await using dir = new TempDir();
    const url = await write(dir, {
      "own/w.ts": saying(
        "outcomes",
        `
        import { createRequire } from "node:module";
        const path = ${JSON.stringify(dir.file("other/node_modules/x/secret"))};
        const outcomes = [];
        for (const read of [
          () => createRequire(import.meta.url)(path + ".json"),
          () => createRequire(import.meta.url)(path + ".js"),
          () => import(path + ".json", { with: { type: "json" } }),
          () => import(path + ".txt", { with: { type: "text" } }),
        ]) {
          try { outcomes.push(JSON.stringify(await read())); }
          catch (error) { outcomes.push(error.name); }
        }
      `,
      ),
      ...files,
      "other/node_modules/x/secret.json": JSON.stringify(STOLEN),
      "other/node_modules/x/secret.txt": STOLEN,
      "other/node_modules/x/secret.js": `module.exports = "${STOLEN}";`,
    });
    const config = files["own/deno.json"] === undefined
      ? {}
      : { config: new URL("deno.json", url) };
    const expected = ["NotCapable", "NotCapable", "TypeError", "TypeError"];
    assertEquals(await saidJson(url, config), expected);
  });
}

test("pair(module) installs no packages for it and runs no scripts of theirs", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying("1"),
    // This package is in the cache of this project.
    "own/package.json": JSON.stringify({
      name: "w",
      version: "1.0.0",
      dependencies: { "deno-std": "1.4.0" },
      scripts: { postinstall: `/bin/sh -c 'echo ran > ${dir.file("ran")}'` },
    }),
    "own/deno.json": `{ "nodeModulesDir": "auto", "allowScripts": true }`,
  });
  await said(url, { stderr: "null", config: new URL("deno.json", url) }).catch(() => {});
  assertEquals(dir.list(), ["own"]);
  assertEquals([...Deno.readDirSync(dir.file("own"))].map((entry) => entry.name).sort(), [
    "deno.json",
    "package.json",
    "w.ts",
  ]);
});

test("pair(module) copies nothing from the cache into its directory", async () => {
  await using dir = new TempDir();
  const remote = Deno.serve(
    { port: 0, hostname: "127.0.0.1", onListen() {} },
    () => new Response("export default 1;", { headers: { "content-type": "text/javascript" } }),
  );
  const host = `127.0.0.1:${remote.addr.port}`;
  const url = await write(dir, {
    "own/w.ts": saying("one", `import one from "http://${host}/one.js";`),
    "own/deno.json": `{ "vendor": true }`,
  });
  const env = { DENO_DIR: dir.file("cache") };
  const cached = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "--no-config", `--allow-import=${host}`, url.href],
    env,
  }).output();
  await remote.shutdown();
  assert(cached.success, decode(cached.stderr));
  assertEquals(await saidJson(url, { env, config: new URL("deno.json", url) }), 1);
  const names = [...Deno.readDirSync(dir.file("own"))].map((entry) => entry.name);
  assertEquals(names.sort(), ["deno.json", "w.ts"]);
});

/** A registry on this machine for packages of JSR and npm. It has one of each. */
async function serveRegistry(dir: TempDir): Promise<Deno.HttpServer<Deno.NetAddr>> {
  const one = "export const one = 1;";
  const hash = async (name: string, bytes: Uint8Array<ArrayBuffer>) =>
    new Uint8Array(await crypto.subtle.digest(name, bytes));
  await write(dir, {
    "package/package.json": `{ "name": "two", "version": "1.0.0", "type": "module" }`,
    "package/index.js": "export const two = 2;",
  });
  const { stdout: tarball } = await new Deno.Command("tar", {
    args: ["--create", "--gzip", "--directory", dir.path, "package"],
  }).output();
  const checksum = `sha256-${(await hash("SHA-256", new TextEncoder().encode(one))).toHex()}`;
  const integrity = `sha512-${(await hash("SHA-512", tarball)).toBase64()}`;
  return Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, ({ url }) => {
    const dist = { tarball: new URL("/two.tgz", url).href, integrity };
    const bodies: Record<string, BodyInit> = {
      "/@a/one/meta.json": `{ "versions": { "1.0.0": {} } }`,
      "/@a/one/1.0.0_meta.json": JSON.stringify({
        exports: { ".": "./mod.ts" },
        manifest: { "/mod.ts": { size: one.length, checksum } },
      }),
      "/@a/one/1.0.0/mod.ts": one,
      "/two": JSON.stringify({
        name: "two",
        "dist-tags": { latest: "1.0.0" },
        versions: { "1.0.0": { name: "two", version: "1.0.0", dist } },
      }),
      "/two.tgz": tarball,
    };
    const body = bodies[new URL(url).pathname];
    return new Response(body ?? null, { status: body === undefined ? 404 : 200 });
  });
}

test("pair(module) finds what another registry than the default one has sent", async () => {
  await using dir = new TempDir();
  const server = await serveRegistry(dir);
  const registry = `http://127.0.0.1:${server.addr.port}/`;
  const url = await write(dir, {
    "own/w.ts": saying(
      "[one, two]",
      `import { one } from "jsr:@a/one";\nimport { two } from "npm:two";`,
    ),
  });
  const cache = dir.file("cache");
  const cached = await new Deno.Command(Deno.execPath(), {
    args: ["cache", "--quiet", "--no-config", url.href],
    env: { DENO_DIR: cache, JSR_URL: registry, NPM_CONFIG_REGISTRY: registry },
  }).output();
  await server.shutdown();
  assert(cached.success, decode(cached.stderr));
  const args = [url.pathname, cache, registry];
  await using parent = fixture("./tests/fixtures/sandbox/other_registry.ts", ["-A"], args);
  assertEquals(await parent.output(), ["[1,2]"], await parent.stderr());
});

test("pair(module) keeps it from the databases of Deno's cache, which its process has open", async () => {
  await using dir = new TempDir();
  const url = await write(dir, {
    "own/w.ts": saying(
      "adopted",
      `
      import net from "node:net";
      const adopted = [];
      for (let fd = 4; fd < 60; fd++) {
        try {
          new net.Socket({ fd }).on("error", () => {}).write(["TOP", "SECRET"].join("-"));
          adopted.push(fd);
        } catch { /* as it should be */ }
      }
    `,
    ),
  });
  const cache = dir.file("cache");
  assertEquals(await saidJson(url, { env: { DENO_DIR: cache } }), []);
  for (const { name, isFile } of Deno.readDirSync(cache)) {
    if (isFile) assert(!(await Deno.readTextFile(`${cache}/${name}`)).includes(STOLEN), name);
  }
});

test("pair(module) runs the same program each time, because Deno's cache keeps all of them", async () => {
  const commands: string[] = [];
  for (let i = 0; i < 2; i++) {
    await using child = await pair(moduleOf("net_echo.ts"));
    commands.push(await Deno.readTextFile(`/proc/${child.pid}/cmdline`));
  }
  assertEquals(commands[1], commands[0]);
});
