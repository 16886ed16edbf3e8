import { connect, listen, permissions, probe, resolveSocketPath, serve } from "@uds/uds";
import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { dirname, fromFileUrl, resolve } from "@std/path/posix";
import { absolutePath } from "../../_internal/base/path.ts";
import { fixture, readText, TempDir, test } from "../_helpers.ts";
import { MAX_PATH, outcome } from "../fixtures/permission_bad_arguments.ts";

/** Returns a path in the directory with exactly `bytes` bytes, which ends with a text. */
function pathOf(dir: TempDir, bytes: number, end = ""): string {
  const size = (text: string) => new TextEncoder().encode(text).length;
  return dir.file("a".repeat(bytes - size(dir.path) - 1 - size(end)) + end);
}

const LINUX = Deno.build.os === "linux";

// ---- What is accepted ---------------------------------------------------------------------------

test("resolveSocketPath() makes a path absolute and lexically short", () => {
  assertEquals(resolveSocketPath("/run//app/./x/../app.sock"), "/run/app/app.sock");
  assertEquals(resolveSocketPath("app.sock"), `${Deno.cwd()}/app.sock`);
  assertEquals(resolveSocketPath("./a/../app.sock"), `${Deno.cwd()}/app.sock`);
});

for (
  const [name, url, path] of [
    ["with percent escapes", "file:///run/my%20app%3F%23%25.sock", "/run/my app?#%.sock"],
    ["with escaped multi-byte characters", "file:///run/%C3%A9.sock", "/run/é.sock"],
    ["with unescaped multi-byte characters", "file:///run/é.sock", "/run/é.sock"],
    ["with a per cent sign that escapes nothing", "file:///run/100%.sock", "/run/100%.sock"],
    ["with an escaped comma", "file:///run/a%2Cb.sock", "/run/a,b.sock"],
    [
      "of localhost, which does not count as a host",
      "file://localhost/run/app.sock",
      "/run/app.sock",
    ],
    ["with a doubled slash, as a string", "file:///run//app.sock", "/run/app.sock"],
    ["with escaped dots and slashes, as a string", "file:///run/a%2F..%2Fx.sock", "/run/x.sock"],
  ] as const
) {
  test(`resolveSocketPath() takes a file: URL ${name}`, () => {
    assertEquals(resolveSocketPath(new URL(url)), path);
  });
}

test("serve() and connect() take a file: URL with percent escapes", async () => {
  await using dir = new TempDir();
  const url = new URL(`file://${dir.path}/my%20%23%C3%A9.sock`);
  await using server = await serve(url, async () => {});
  assertEquals(server.addr.path, dir.file("my #é.sock"));
  assertEquals(dir.list(), ["my #é.sock", "my #é.sock.lock"]);
  await using conn = await connect(url);
  assertEquals(conn.remoteAddr.path, dir.file("my #é.sock"));
  assertEquals(await readText(conn), null);
});

for (
  const [name, end] of [
    ["characters of one byte", "b"],
    ["characters of two, three and four bytes", "é€😀"],
  ] as const
) {
  test(`serve() binds a path of exactly ${MAX_PATH} bytes, in ${name}`, async () => {
    await using dir = new TempDir();
    const path = pathOf(dir, MAX_PATH, end);
    await using server = await serve(path, async () => {});
    assertEquals(server.addr.path, path);
    await using conn = await connect(path);
    assertEquals(await readText(conn), null);
    assertEquals((await probe(path)).state, "alive");
  });

  test(`serve() refuses a path of ${MAX_PATH + 1} bytes, in ${name}`, async () => {
    await using dir = new TempDir();
    const path = pathOf(dir, MAX_PATH + 1, end);
    const [kind, message] = await outcome(() => serve(path, async () => {}));
    assertEquals(kind, "RangeError");
    assertStringIncludes(message, `it has ${MAX_PATH + 1} bytes`);
    assertStringIncludes(message, `at most ${MAX_PATH}`);
    assertEquals(dir.list(), []);
  });
}

test(`serve({ publish: "rename" }) binds a path of exactly ${MAX_PATH - 4} bytes`, async () => {
  await using dir = new TempDir();
  const path = pathOf(dir, MAX_PATH - 4);
  await using _server = await serve({ path, publish: "rename" }, async () => {});
  await using conn = await connect(path);
  assertEquals(await readText(conn), null);
});

test("a relative path counts with its working directory", () => {
  const bytes = new TextEncoder().encode(Deno.cwd()).length + 1;
  const name = "a".repeat(MAX_PATH - bytes);
  assertEquals(resolveSocketPath(name), `${Deno.cwd()}/${name}`);
  assertEquals(outcomeOf(() => resolveSocketPath(`${name}a`)), RangeError);
});

function outcomeOf(call: () => unknown): unknown {
  try {
    return call();
  } catch (error) {
    return (error as Error).constructor;
  }
}

test("a relative path is made absolute at once, and Deno.chdir changes nothing", async () => {
  await using home = new TempDir();
  await using away = new TempDir();
  // An unlink by the relative name would remove this file.
  await Deno.writeTextFile(away.file("x.sock"), "decoy");
  await using program = fixture(
    "permission_chdir.ts",
    ["-A"],
    [away.path, home.file("later.sock")],
    { cwd: home.path },
  );
  assertEquals(await program.line(), home.file("x.sock"));
  assertEquals(await program.line(), "hello");
  assertEquals(await program.line(), home.file("later.sock"));
  assertEquals(await program.output(), []);
  assertEquals((await program.status).code, 0, await program.stderr());
  assertEquals(home.list(), []);
  assertEquals(away.list(), ["x.sock"]);
  assertEquals(await Deno.readTextFile(away.file("x.sock")), "decoy");
});

// ---- Abstract names -----------------------------------------------------------------------------

/** Returns a unique abstract name. */
function abstractName(bytes = 20): string {
  return `\0${crypto.randomUUID().repeat(4).slice(0, bytes)}`;
}

if (LINUX) {
  for (const [how, bytes] of [["", 20], [" of 107 bytes after the NUL", 107]] as const) {
    test(`serve(), connect() and probe() share an abstract name${how}`, async () => {
      const name = abstractName(bytes);
      assertEquals(resolveSocketPath(name), name);
      assertEquals(await probe(name), { state: "free" });
      await using server = await serve(name, async () => {});
      assertEquals(server.addr, { transport: "unix", path: name });
      await using conn = await connect(name);
      assertEquals(conn.remoteAddr.path, name);
      assertEquals(await readText(conn), null);
      assertEquals(await probe(name), { state: "alive" });
    });
  }

  test("listen() frees an abstract name when it is closed", async () => {
    const name = abstractName();
    const listener = await listen(name);
    const [server, client] = await Promise.all([listener.accept(), connect(name)]);
    server.close();
    client.close();
    await listener.close();
    assertEquals(await probe(name), { state: "free" });
  });
}

test("permissions() of a relative path are for its present place", () => {
  const path = `${Deno.cwd()}/app.sock`;
  assertEquals(permissions("connect", "app.sock"), {
    read: [path],
    write: [path],
    net: [`unix:${path}`],
  });
});

test("resolveSocketPath() of a relative path reports that the working directory was removed", async () => {
  await using dir = new TempDir();
  const gone = dir.file("gone");
  await Deno.mkdir(gone);
  const before = Deno.cwd();
  Deno.chdir(gone);
  try {
    await Deno.remove(gone);
    const error = assertThrows(() => resolveSocketPath("a.sock"), Deno.errors.NotFound);
    assert(error.message.includes("the working directory does not exist any more"));
  } finally {
    Deno.chdir(before);
  }
});

test("resolveSocketPath() and permissions() parse paths as @std/path does", () => {
  const parts = [
    "a",
    "b.sock",
    "..",
    ".",
    "",
    "...",
    ".hidden",
    "ä ö",
    "%41",
    "a%",
    "~",
    "c:d",
    "-",
  ];
  let seed = 1;
  const random = (below: number) => {
    // A small generator, the same each time (Lehmer, 1951).
    seed = seed * 48_271 % 0x7fff_ffff;
    return seed % below;
  };
  for (let i = 0; i < 5000; i++) {
    const some = Array.from({ length: random(7) }, () => parts[random(parts.length)]);
    const path = `${random(2) === 0 ? "/" : ""}${some.join("/")}/x`;
    const absolute = resolve(path);
    assertEquals(resolveSocketPath(path), absolute);
    const { write } = permissions("serve", path, { createDirectory: true });
    assertEquals((write as string[]).at(-1), dirname(absolute));

    const url = new URL(`file:///${some.map((part) => encodeURI(part!)).join("/")}/x%`);
    assertEquals(resolveSocketPath(url), resolve(fromFileUrl(url)));

    const base = `${random(2) === 0 ? "/" : ""}${parts[random(parts.length)]}`;
    assertEquals(absolutePath(path, base), resolve(base, path));
  }
});
