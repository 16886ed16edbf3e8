import { runtimePath } from "@uds/uds";
import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { denoArgs, fixture, run, TempDir, test } from "../_helpers.ts";
import { MAX_PATH } from "../fixtures/permission_bad_arguments.ts";

// ---- runtimePath() ------------------------------------------------------------------------------

const ENV_FLAGS = ["--allow-env=XDG_RUNTIME_DIR,TMPDIR", "--allow-sys=uid"];

/** Flags for refusals that do not depend on permissions. */
const ANY_FILE = ["--allow-read", "--allow-write"];

/**
 * Returns what a program finds, with the two variables and with flags in addition to ENV_FLAGS.
 */
async function findRuntimePath(
  env: { XDG_RUNTIME_DIR?: string; TMPDIR?: string },
  flags: string[],
  name?: string,
): Promise<Record<string, string>> {
  // Empty counts as unset, and hides the variables of the test itself.
  await using program = fixture(
    "permission_runtime_path.ts",
    // Deno refuses -A together with other permission flags.
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
  // The flags that it asks for show the place, so the real directory is not used.
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

/** The two places, each with the variables that lead there. */
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

/** What must not be at the place, each with a part of the error's message. */
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

// ---- In this process, with its environment and working directory --------------------------------

/** Sets a variable until disposal. */
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

test("runtimePath() makes its directory below $TMPDIR if there is no other, and finds it again", async () => {
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
