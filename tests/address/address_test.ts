import {
  connect,
  listen,
  permissions,
  probe,
  resolveSocketPath,
  runtimePath,
  serve,
} from "@uds/uds";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStringIncludes,
  assertThrows,
} from "@std/assert";
import { dirname, fromFileUrl, resolve, toFileUrl } from "@std/path/posix";
import { absolutePath, urlOfPath } from "../../_internal/base/path.ts";
import { denoArgs, fixture, readText, run, TempDir, test } from "../_helpers.ts";
import {
  BAD_CALLS,
  BAD_PATHS,
  MAX_PATH,
  outcome,
  PATH_TAKERS,
} from "../fixtures/permission_bad_arguments.ts";

/** A path in the directory with exactly so many bytes, which ends with some text. */
function pathOf(dir: TempDir, bytes: number, end = ""): string {
  const size = (text: string) => new TextEncoder().encode(text).length;
  return dir.file("a".repeat(bytes - size(dir.path) - 1 - size(end)) + end);
}

const LINUX = Deno.build.os === "linux";

// ---- What is refused ------------------------------------------------------------------------------

for (const { name, value, error, says } of BAD_PATHS) {
  test(`every function that takes a path refuses ${name} with a ${error}`, async () => {
    const refused = Object.keys(PATH_TAKERS).map((taker) => [taker, error]);
    const outcomes = [];
    for (const [taker, take] of Object.entries(PATH_TAKERS)) {
      const [kind, message] = await outcome(() => take(value as never));
      outcomes.push([taker, kind]);
      // Where options may stand as well, what is neither is refused as options.
      const direct = taker.endsWith("(path)") && !/^(resolve|probe|claim)/.test(taker);
      if (!direct || typeof value === "string" || value instanceof URL) {
        assertStringIncludes(message, says, taker);
      }
    }
    assertEquals(outcomes, refused);
  });
}

for (const { name, call, error, says } of BAD_CALLS) {
  test(`${name} is refused with a ${error}`, async () => {
    await using dir = new TempDir();
    const [kind, message] = await outcome(() => call(dir.file("x.sock")));
    assertEquals(kind, error, message);
    assertStringIncludes(message, says);
    assertEquals(dir.list(), []);
  });
}

/** The calls of the table that ended in another way than they must, by name. */
function unexpected(outcomes: Record<string, string>): string[] {
  const expected = [
    ...BAD_PATHS.flatMap(({ name, error }) =>
      Object.keys(PATH_TAKERS).map((taker) => [`${taker}: ${name}`, error] as const)
    ),
    ...BAD_CALLS.map(({ name, error }) => [name, error] as const),
  ];
  return expected.filter(([name, error]) => outcomes[name] !== error)
    .map(([name, error]) => `${name}: ${outcomes[name]}, not ${error}`);
}

test("bad arguments are refused before any permission is asked for", async () => {
  await using dir = new TempDir();
  await using program = fixture("permission_bad_arguments.ts", [], [], { cwd: dir.path });
  const { outcomes, control } = JSON.parse(await program.line());
  assertEquals(unexpected(outcomes), []);
  assertEquals(control, "NotCapable undefined");
});

test("bad arguments leave nothing in the working directory, whatever is granted", async () => {
  await using dir = new TempDir();
  await using program = fixture("permission_bad_arguments.ts", ["-A"], [], { cwd: dir.path });
  const { outcomes, control } = JSON.parse(await program.line());
  assertEquals(unexpected(outcomes), []);
  assertEquals(control, "SocketNotFound ENOENT");
  assertEquals(dir.list(), []);
});

for (
  const [timeout, error] of [
    [-1, "RangeError"],
    [0.5, "RangeError"],
    [NaN, "RangeError"],
    [2 ** 31, "RangeError"],
    ["5", "TypeError"],
    [null, "TypeError"],
  ] as const
) {
  const shown = JSON.stringify(timeout) ?? "";
  const name = Number.isNaN(timeout) ? "NaN" : shown;
  test(`shutdown({ timeout: ${name} }) is refused with a ${error}, and the server goes on`, async () => {
    await using dir = new TempDir();
    await using server = await serve(dir.file("x.sock"), async () => {});
    const [kind, message] = await outcome(() => server.shutdown({ timeout: timeout as never }));
    assertEquals(kind, error);
    assertStringIncludes(message, "Invalid timeout");
    await using conn = await connect(dir.file("x.sock"));
    assertEquals(await readText(conn), null);
  });
}

test("shutdown() refuses options that do not exist, and the server goes on", async () => {
  await using dir = new TempDir();
  await using server = await serve(dir.file("x.sock"), async () => {});
  const [kind, message] = await outcome(() => server.shutdown({ timout: 5 } as never));
  assertEquals(kind, "TypeError");
  assertStringIncludes(message, '"timout" of shutdown()');
  await using conn = await connect(dir.file("x.sock"));
  assertEquals(await readText(conn), null);
});

// ---- What is accepted -----------------------------------------------------------------------------

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
    ["of localhost, which is no host", "file://localhost/run/app.sock", "/run/app.sock"],
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
  // What an unlink by the relative name would hit.
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

// ---- Abstract names -------------------------------------------------------------------------------

/** An abstract name that nobody else has. */
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

  test("listen() on an abstract name is gone when it is closed", async () => {
    const name = abstractName();
    const listener = await listen(name);
    const [server, client] = await Promise.all([listener.accept(), connect(name)]);
    server.close();
    client.close();
    await listener.close();
    assertEquals(await probe(name), { state: "free" });
  });
}

// ---- runtimePath() --------------------------------------------------------------------------------

const ENV_FLAGS = ["--allow-env=XDG_RUNTIME_DIR,TMPDIR", "--allow-sys=uid"];

/** For refusals that have nothing to do with what is granted. */
const ANY_FILE = ["--allow-read", "--allow-write"];

/** What the program finds, with those two variables and the flags that it needs beside ENV_FLAGS. */
async function findRuntimePath(
  env: { XDG_RUNTIME_DIR?: string; TMPDIR?: string },
  flags: string[],
  name?: string,
): Promise<Record<string, string>> {
  // Unset and empty are the same to it; the test's own variables must not come through.
  await using program = fixture(
    "permission_runtime_path.ts",
    // Deno refuses -A together with others.
    flags.includes("-A") ? flags : [...ENV_FLAGS, ...flags],
    name === undefined ? [] : [name],
    { env: { XDG_RUNTIME_DIR: "", TMPDIR: "", ...env } },
  );
  return JSON.parse(await program.line());
}

const UID = Deno.uid();

test("runtimePath() is in $XDG_RUNTIME_DIR, which it only needs to read", async () => {
  await using dir = new TempDir(0o700);
  assertEquals(await findRuntimePath({ XDG_RUNTIME_DIR: dir.path }, [`--allow-read=${dir.path}`]), {
    found: dir.file("app.sock"),
  });
  assertEquals(dir.list(), []);
});

test("runtimePath() without that variable makes a directory in $TMPDIR, with mode 0700", async () => {
  await using dir = new TempDir();
  const home = dir.file(`uds-${UID}`);
  const flags = [`--allow-read=${home}`, `--allow-write=${home}`];
  assertEquals(await findRuntimePath({ TMPDIR: dir.path }, flags), { found: `${home}/app.sock` });
  const { mode, uid } = await Deno.lstat(home);
  assertEquals([(mode ?? 0) & 0o777, uid], [0o700, UID]);
  // The client finds the same place, and so does the next start.
  assertEquals(await findRuntimePath({ TMPDIR: dir.path }, flags), { found: `${home}/app.sock` });
  assertEquals([...Deno.readDirSync(home)], []);
});

test("runtimePath() ignores a relative $XDG_RUNTIME_DIR", async () => {
  await using dir = new TempDir();
  const env = { XDG_RUNTIME_DIR: "run", TMPDIR: dir.path };
  const home = dir.file(`uds-${UID}`);
  assertEquals(await findRuntimePath(env, [`--allow-read=${home}`, `--allow-write=${home}`]), {
    found: `${home}/app.sock`,
  });
});

test("runtimePath() without both variables is below /tmp", async () => {
  // Seen in the flags that it asks for, so that the real directory stays out of it.
  const error = await findRuntimePath({}, []);
  assertEquals([error.class, error.operation, error.path], [
    "NotCapable",
    "runtimePath",
    `/tmp/uds-${UID}`,
  ]);
  assertStringIncludes(
    error.message ?? "",
    `Run again with --allow-read=/tmp/uds-${UID} --allow-write=/tmp/uds-${UID}`,
  );
});

test("runtimePath() names the flags for the variables and the user", async () => {
  const { code, stdout } = await run(Deno.execPath(), denoArgs("permission_runtime_path.ts", []));
  const error = JSON.parse(stdout);
  assertEquals([code, error.class, error.operation, error.path], [
    0,
    "NotCapable",
    "runtimePath",
    null,
  ]);
  assertStringIncludes(error.message, `Run again with ${ENV_FLAGS.join(" ")}`);
});

test("runtimePath() refuses a path that would be too long, and makes no directory", async () => {
  await using dir = new TempDir();
  const error = await findRuntimePath({ TMPDIR: dir.path }, ANY_FILE, "a".repeat(MAX_PATH));
  assertEquals(error.class, "RangeError");
  assertEquals(dir.list(), []);
});

/** The two places, and what makes a given directory that place. */
const PLACES = [
  {
    place: "$XDG_RUNTIME_DIR",
    at: (dir: TempDir) => dir.file("run"),
    env: (dir: TempDir) => ({ XDG_RUNTIME_DIR: dir.file("run") }),
  },
  {
    place: "the directory in $TMPDIR",
    at: (dir: TempDir) => dir.file(`uds-${UID}`),
    env: (dir: TempDir) => ({ TMPDIR: dir.path }),
  },
];

/** What must not be at the place, and what the refusal says of it. */
const INSECURE: [string, (at: string) => Promise<void>, string, boolean][] = [
  [
    "is a symbolic link",
    async (at) => {
      await Deno.mkdir(`${at}.real`, { mode: 0o700 });
      await Deno.symlink(`${at}.real`, at);
    },
    "it is a symbolic link",
    false,
  ],
  ["is a file", (at) => Deno.writeTextFile(at, "", { mode: 0o600 }), "it is a regular file", false],
  [
    "can be listed by others",
    async (at) => {
      await Deno.mkdir(at);
      await Deno.chmod(at, 0o755);
    },
    "it has mode 0755",
    false,
  ],
  [
    "can be written to by its group",
    async (at) => {
      await Deno.mkdir(at);
      await Deno.chmod(at, 0o720);
    },
    "it has mode 0720",
    false,
  ],
  [
    "belongs to another user",
    async (at) => {
      await Deno.mkdir(at, { mode: 0o700 });
      await Deno.chown(at, 65534, 65534);
    },
    "belongs to uid 65534",
    true,
  ],
];

for (const { place, at, env } of PLACES) {
  for (const [what, make, says, root] of INSECURE) {
    test(`runtimePath() refuses ${place} that ${what}`, async () => {
      await using dir = new TempDir();
      const directory = at(dir);
      await make(directory);
      const before = await Deno.lstat(directory);
      const error = await findRuntimePath(env(dir), ANY_FILE);
      assertEquals([error.class, error.name], ["InsecurePath", "InsecurePath"], error.message);
      assertEquals([error.operation, error.path], ["runtimePath", directory]);
      assertEquals(error.code, "EPERM");
      assertStringIncludes(error.message ?? "", says);
      assertEquals((await Deno.lstat(directory)).mode, before.mode);
    }, { root });
  }
}

// With -A Deno passes a path on as it is, and lstat follows a link that ends with a slash.
for (const flags of [["-A"], ANY_FILE]) {
  test(`runtimePath() under ${flags.join(" ")} refuses a symbolic link with a final slash in $XDG_RUNTIME_DIR`, async () => {
    await using dir = new TempDir();
    await Deno.mkdir(dir.file("real"), { mode: 0o700 });
    await Deno.symlink(dir.file("real"), dir.file("run"));
    const error = await findRuntimePath({ XDG_RUNTIME_DIR: `${dir.file("run")}/` }, flags);
    assertEquals(error.class, "InsecurePath");
  });
}

test("runtimePath() takes a directory in $XDG_RUNTIME_DIR that ends with a slash", async () => {
  await using dir = new TempDir(0o700);
  const flags = [`--allow-read=${dir.path}`];
  assertEquals(await findRuntimePath({ XDG_RUNTIME_DIR: `${dir.path}/` }, flags), {
    found: dir.file("app.sock"),
  });
});

test("runtimePath() takes a name with dots, spaces and multi-byte characters", async () => {
  await using dir = new TempDir(0o700);
  const flags = [`--allow-read=${dir.path}`];
  const name = ".my app.é";
  assertEquals(await findRuntimePath({ XDG_RUNTIME_DIR: dir.path }, flags, name), {
    found: dir.file(`${name}.sock`),
  });
});

test("permissions() of a relative path are for where it is now", () => {
  const path = `${Deno.cwd()}/app.sock`;
  assertEquals(permissions("connect", "app.sock"), {
    read: [path],
    write: [path],
    net: [`unix:${path}`],
  });
});

// ---- In this process, where the environment and the working directory can be had --------------------

/** Sets a variable for the time of a test. */
function setVariable(name: string, value: string): Disposable {
  const before = Deno.env.get(name);
  Deno.env.set(name, value);
  return {
    [Symbol.dispose]() {
      if (before === undefined) Deno.env.delete(name);
      else Deno.env.set(name, before);
    },
  };
}

test("runtimePath() makes its directory below $TMPDIR where there is no other, and finds it again", async () => {
  await using dir = new TempDir();
  using _runtime = setVariable("XDG_RUNTIME_DIR", "");
  using _temporary = setVariable("TMPDIR", dir.path);
  const own = dir.file(`uds-${Deno.uid()}`);
  for (let i = 0; i < 2; i++) assertEquals(await runtimePath("app"), `${own}/app.sock`);
  assertEquals((await Deno.lstat(own)).mode! & 0o777, 0o700);
});

for (
  const [what, make, says] of [
    ["is missing", () => {}, "it does not exist"],
    ["is a file", (path: string) => Deno.writeTextFileSync(path, ""), "it is a regular file"],
    ["is open to others", (path: string) => Deno.mkdirSync(path), "it has mode 0755"],
  ] as const
) {
  test(`runtimePath() refuses a runtime directory that ${what}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("run");
    make(path);
    if (what === "is open to others") {
      Deno.chmodSync(path, 0o755);
    }
    using _runtime = setVariable("XDG_RUNTIME_DIR", path);
    const error = await assertRejects(() => runtimePath("app"), Error, says);
    assertEquals((error as unknown as { path: string }).path, path);
  });
}

test("resolveSocketPath() of a relative path says that the working directory has gone", async () => {
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

test("resolveSocketPath() and permissions() take paths apart as @std/path does", () => {
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
    assertEquals(fromFileUrl(urlOfPath(absolute)), fromFileUrl(toFileUrl(absolute)));
  }
});
