import { connect, permissionFlags, permissions, type PermissionsOptions, serve } from "@uds/uds";
import { assert, assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import {
  decode,
  denoArgs,
  encode,
  makeStale,
  Program,
  readAll,
  readText,
  run,
  TempDir,
  test,
  within,
} from "../_helpers.ts";
import type { Use } from "../fixtures/permission_use.ts";

/** The kinds of permission that an operation on a socket may need, with what each is scoped to. */
type Scoped = Record<string, string[]>;

/** One way to use a socket, and what it must be granted for the path `P`. */
interface Row {
  name: string;
  operation: Exclude<Use["operation"], "Deno.connect">;
  /** What `permissions()` is told, and the operation itself. */
  options?: PermissionsOptions;
  /** Which path, where not `P`. */
  at?: string;
  needs: (path: string) => Scoped;
}

const beside = (path: string) => path.slice(0, path.lastIndexOf("/"));

/** The directories of a path, from the nearest one on, without the root. */
function directoriesOf(path: string): string[] {
  const directory = beside(path);
  return directory === "" ? [] : [directory, ...directoriesOf(directory)];
}

/** What all owners of a path need. */
const owning = (path: string) => ({
  read: [path, `${path}.lock`],
  write: [path, `${path}.lock`],
  net: [`unix:${path}`],
});

const ROWS: Row[] = [
  { name: "serve()", operation: "serve", needs: owning },
  { name: "listen()", operation: "listen", needs: owning },
  { name: "claim() and bind()", operation: "claim", needs: owning },
  {
    name: 'serve({ publish: "rename" })',
    operation: "serve",
    options: { publish: "rename" },
    needs: (path) => ({
      read: [path, `${path}.lock`, `${path}.new`, `${path}.lock.new`],
      write: [path, `${path}.lock`, `${path}.new`, `${path}.lock.new`],
      net: [`unix:${path}`, `unix:${path}.new`],
    }),
  },
  {
    name: "serve({ createDirectory: true })",
    operation: "serve",
    options: { createDirectory: true },
    at: "a/b/s.sock",
    needs: (path) => ({
      read: [path, `${path}.lock`],
      write: [path, `${path}.lock`, beside(path)],
      net: [`unix:${path}`],
    }),
  },
  {
    name: "serve({ verifyDirectory: true })",
    operation: "serve",
    options: { verifyDirectory: true },
    needs: (path) => ({
      read: [path, `${path}.lock`, ...directoriesOf(path)],
      write: [path, `${path}.lock`],
      net: [`unix:${path}`],
    }),
  },
  {
    name: "connect()",
    operation: "connect",
    needs: (path) => ({ read: [path], write: [path], net: [`unix:${path}`] }),
  },
  {
    name: "probe()",
    operation: "probe",
    needs: (path) => ({ read: [path, `${path}.lock`], write: [path], net: [`unix:${path}`] }),
  },
  {
    name: "probe({ connect: false })",
    operation: "probe",
    options: { connect: false },
    needs: (path) => ({ read: [path, `${path}.lock`] }),
  },
];

/** What `permissions()` says of a row. */
function permissionsOf({ operation, options }: Row, path: string): Deno.PermissionOptionsObject {
  return permissions(operation === "listen" ? "serve" : operation, path, options);
}

/**
 * A program that uses a socket, under a umask that leaves the write bits right: otherwise it would also need
 * read permission for its directory.
 */
function user(use: Use, flags: string[], env: Record<string, string> = {}): Program {
  const args = denoArgs("permission_use.ts", flags, [JSON.stringify(use)]);
  const umask = use.operation === "claim" ? "077" : "022";
  const command = `umask ${umask}; exec "$0" "$@"`;
  return new Program("sh", ["-c", command, Deno.execPath(), ...args], { env });
}

/** A server that greets, for a program that connects. */
function greeter(path: string): Promise<AsyncDisposable> {
  return serve(path, async (conn) => {
    await conn.write(encode("hello"));
  });
}

/** Is the other side of what the program does, until it says that it is done. */
async function play(program: Program, { operation, path, options }: Use): Promise<void> {
  if (operation === "connect") {
    assertEquals(await program.line(), "hello");
  } else if (operation === "probe") {
    const { state } = JSON.parse(await program.line());
    const abstract = path.startsWith("\0");
    assertEquals(state, abstract ? "free" : options?.connect === false ? "claimed" : "stale");
  } else {
    const ready = await program.line();
    assertEquals(ready, "ready");
    await using conn = await connect(path);
    assertEquals(decode(await readAll(conn)), "hello");
  }
  assertEquals(await program.line(), "done");
}

/** What is at the path before: a dead socket wherever that gives more to do than nothing. */
async function prepare(row: Row, path: string): Promise<AsyncDisposable | undefined> {
  if (row.operation === "connect") return await greeter(path);
  if (row.options?.createDirectory) return;
  if (row.options?.connect === false) {
    // Held by this process: without a connection only the lock can tell.
    return await serve(path, async () => {});
  }
  await makeStale(path);
  if (row.options?.publish === "rename") await makeStale(`${path}.new`);
}

// ---- permissions() --------------------------------------------------------------------------------

for (const row of ROWS) {
  test(`permissions() of ${row.name} are scoped to what it needs`, () => {
    const path = "/run/app/s.sock";
    assertEquals(permissionsOf(row, path), row.needs(path) as Deno.PermissionOptionsObject);
  });
}

test("permissions() of verifyDirectory name the root directory only for a socket in it", () => {
  const { read } = permissions("serve", "/s.sock", { verifyDirectory: true });
  assertEquals(read, ["/s.sock", "/s.sock.lock", "/"]);
});

test("permissions() of createDirectory and verifyDirectory name the directory once", () => {
  const set = permissions("claim", "/run/s.sock", { createDirectory: true, verifyDirectory: true });
  assertEquals(set, {
    read: ["/run/s.sock", "/run/s.sock.lock", "/run"],
    write: ["/run/s.sock", "/run/s.sock.lock", "/run"],
    net: ["unix:/run/s.sock"],
  });
});

for (const operation of ["serve", "connect", "probe"] as const) {
  test(`permissions("${operation}") of an abstract name are unscoped net`, () => {
    assertEquals(permissions(operation, "\0name"), { net: true });
  });
}

const KINDS = ["env", "ffi", "import", "net", "read", "run", "sys", "write"];

for (
  const path of ["/dev/shm/s.sock", "/dev/log", "/proc/self/cwd/s.sock", "/sys/s.sock"]
) {
  for (const operation of ["serve", "claim", "connect", "probe"] as const) {
    test(`permissions("${operation}", "${path}") are all there are`, () => {
      const set = permissions(operation, path);
      assertEquals(Object.keys(set).sort(), KINDS);
      assert(Object.values(set).every((value) => value === true));
      assertEquals(permissionFlags(set), ["--allow-all"]);
    });
  }
}

for (const path of ["/device/s.sock", "/procession/s.sock", "/system/s.sock", "/run/dev/s.sock"]) {
  test(`permissions() of ${path} are the usual ones`, () => {
    assertEquals(permissions("connect", path).net, [`unix:${path}`]);
  });
}

test("permissions() sees through dots on the way to /dev", () => {
  assertEquals(permissionFlags(permissions("connect", "/run/../dev/log")), ["--allow-all"]);
  assertEquals(permissionFlags(permissions("connect", new URL("file:///run/..%2Fdev/log"))), [
    "--allow-all",
  ]);
});

test("permissions() gives an object of its own, which may be changed", () => {
  const first = permissions("connect", "/dev/log");
  first.read = false;
  assertEquals(permissions("connect", "/dev/log").read, true);
  (permissions("connect", "/run/s.sock").read as string[]).push("/etc");
  assertEquals(permissions("connect", "/run/s.sock").read, ["/run/s.sock"]);
});

// ---- permissionFlags() ----------------------------------------------------------------------------

const ALL = Object.fromEntries(KINDS.map((kind) => [kind, true]));

for (
  const [name, set, flags] of [
    ["nothing", {}, []],
    ["true", { read: true, net: true }, ["--allow-read", "--allow-net"]],
    ["false", { read: false, net: true, env: false }, ["--allow-net"]],
    ["an empty array, which grants nothing", { read: [], write: ["/a"] }, ["--allow-write=/a"]],
    ["arrays", { read: ["/a", "/b c"], net: ["unix:/a", "localhost:80"] }, [
      "--allow-read=/a,/b c",
      "--allow-net=unix:/a,localhost:80",
    ]],
    ["every kind", { env: ["A"], ffi: ["/l.so"], import: ["jsr.io"], run: ["ls"], sys: ["uid"] }, [
      "--allow-env=A",
      "--allow-ffi=/l.so",
      "--allow-import=jsr.io",
      "--allow-run=ls",
      "--allow-sys=uid",
    ]],
    ["a URL", { read: [new URL("file:///a%20b"), "/c"] }, ["--allow-read=/a b,/c"]],
    ["a URL with a per cent sign that escapes nothing", {
      read: [new URL("file:///100%.sock")],
    }, ["--allow-read=/100%.sock"]],
    ["all of them, true", ALL, ["--allow-all"]],
    ["all of them but one", { ...ALL, ffi: false }, [
      "--allow-env",
      "--allow-import",
      "--allow-net",
      "--allow-read",
      "--allow-run",
      "--allow-sys",
      "--allow-write",
    ]],
  ] as [string, Deno.PermissionOptionsObject, string[]][]
) {
  test(`permissionFlags() writes ${name}`, () => {
    assertEquals(permissionFlags(set), flags);
  });
}

for (
  const [name, set, says] of [
    ["a comma", { read: ["/a,b"] }, '"/a,b"'],
    ["an escaped comma in a URL", { write: [new URL("file:///a%2Cb")] }, '"/a,b"'],
    ["a comma in net", { net: ["unix:/a,b"] }, '"unix:/a,b"'],
    ['"inherit"', { env: "inherit" }, '"inherit"'],
    ["a URL that is no file: URL", { read: [new URL("https://host/a")] }, "https://host/a"],
  ] as [string, Deno.PermissionOptionsObject, string][]
) {
  test(`permissionFlags() refuses ${name} with a TypeError`, () => {
    const error = assertThrows(() => permissionFlags(set), TypeError, says);
    assertEquals(error.constructor, TypeError);
  });
}

// ---- What permissions() says is enough, and no more than is used ------------------------------------

for (const row of ROWS) {
  test(`${row.name} works with exactly its permissions(), and uses each of them`, async () => {
    await using dir = new TempDir();
    await using home = new TempDir();
    const path = dir.file(row.at ?? "s.sock");
    const use = { operation: row.operation, path, options: { ...row.options } };
    const audit = home.file("audit");
    {
      await using _prepared = await prepare(row, path);
      await using program = user(use, permissionFlags(permissionsOf(row, path)), {
        DENO_AUDIT_PERMISSIONS: audit,
      });
      await play(program, use);
      assertEquals((await program.status).code, 0);
    }
    if (row.operation !== "probe") assertEquals(leftFiles(dir.path), []);

    // Deno writes down which permissions were checked, not those that were only queried.
    const used: Record<string, Set<string>> = {};
    for (const line of (await Deno.readTextFile(audit)).trim().split("\n")) {
      const { permission, value } = JSON.parse(line);
      (used[permission] ??= new Set()).add(value);
    }
    const needed = Object.entries(row.needs(path)).map(([kind, list]) => [kind, list.sort()]);
    assertEquals(
      Object.fromEntries(Object.entries(used).map(([kind, list]) => [kind, [...list].sort()])),
      Object.fromEntries(needed),
    );
  });
}

/** The files below a directory, without the directories. */
function leftFiles(directory: string): string[] {
  return [...Deno.readDirSync(directory)].flatMap((entry) =>
    entry.isDirectory ? leftFiles(`${directory}/${entry.name}`) : [entry.name]
  );
}

// ---- What is left out is named ----------------------------------------------------------------------

/** Runs a use that must be refused, and gives what the program says of the error. */
async function refusal(use: Use, flags: string[]): Promise<Record<string, string>> {
  const args = denoArgs("permission_use.ts", flags, [JSON.stringify(use)]);
  const { stdout, stderr } = await run(Deno.execPath(), args);
  assertEquals(stderr, "");
  return JSON.parse(stdout);
}

/** Asserts that it is the refusal of an operation, which asks for exactly these flags. */
function assertAsksFor(error: Record<string, string>, { operation, path }: Use, flags: string) {
  assertEquals([error.class, error.operation, error.path], ["NotCapable", operation, path]);
  assertMatch(error.message ?? "", /^Cannot [a-z ]+ "/);
  const [, asked] = (error.message ?? "").split(": a Deno permission is missing. Run again with ");
  assertEquals(asked, flags);
}

/** Each single permission of a row: its kind, its place from the end of the list, and what it is for. */
function singles(row: Row): [kind: string, index: number, entry: string][] {
  return Object.entries(row.needs("/T/D/P")).flatMap(([kind, entries]) =>
    entries.map((entry, i): [string, number, string] => [kind, i - entries.length, entry])
      // A grant for a directory is one for what is in it: without the others nothing is missing.
      .filter(([, , entry]) => !directoriesOf(entry).some((above) => entries.includes(above)))
  );
}

for (const row of ROWS) {
  for (const [kind, index, entry] of singles(row)) {
    test(`${row.name} without ${kind} for ${entry} names that flag`, async () => {
      await using dir = new TempDir();
      const path = dir.file("s.sock");
      const needs = row.needs(path);
      const missing = needs[kind]?.splice(index, 1)[0];
      const use = { operation: row.operation, path, options: { ...row.options } };
      const error = await refusal(use, permissionFlags(needs));
      assertAsksFor(error, use, `--allow-${kind}=${missing}`);
      assertEquals(dir.list(), []);
    });
  }
}

for (const row of ROWS) {
  test(`${row.name} without any permission names all flags at once`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const use = { operation: row.operation, path, options: { ...row.options } };
    const error = await refusal(use, []);
    assertAsksFor(error, use, permissionFlags(row.needs(path)).join(" "));
    assertEquals(dir.list(), []);
  });
}

test("connect() to a path with a comma names the permission set instead of flags", async () => {
  const path = "/run/a,b.sock";
  const use: Use = { operation: "connect", path };
  const set = { default: { read: [path], write: [path], net: [`unix:${path}`] } };
  const error = await refusal(use, []);
  assertAsksFor(error, use, `-P and "permissions": ${JSON.stringify(set)} in deno.json`);
});

test("connect() below /dev with read, write and net alone asks for all permissions", async () => {
  const use: Use = { operation: "connect", path: "/dev/shm/uds-absent.sock" };
  const error = await refusal(use, ["--allow-read", "--allow-write", "--allow-net"]);
  assertAsksFor(error, use, "--allow-all");
});

test("connect() below /dev works with all permissions", async () => {
  const error = await refusal(
    { operation: "connect", path: "/dev/shm/uds-absent.sock" },
    permissionFlags(permissions("connect", "/dev/shm/uds-absent.sock")),
  );
  assertEquals(error.class, "SocketNotFound");
});

test("connect() with a denied permission names it too", async () => {
  const path = "/run/uds-absent.sock";
  const use: Use = { operation: "connect", path };
  const flags = ["--allow-read", "--allow-write", "--allow-net", `--deny-net=unix:${path}`];
  assertAsksFor(
    await refusal(use, flags),
    use,
    `--allow-net=unix:${path} (and without a --deny flag, if one takes it away)`,
  );
});

// ---- Abstract names ---------------------------------------------------------------------------------

if (Deno.build.os === "linux") {
  for (const operation of ["serve", "listen", "connect", "probe"] as const) {
    test(`${operation}() of an abstract name works with exactly its permissions()`, async () => {
      const use = { operation, path: `\0uds-${crypto.randomUUID()}` };
      const set = permissions(operation === "listen" ? "serve" : operation, use.path);
      assertEquals(permissionFlags(set), ["--allow-net"]);
      await using _server = operation === "connect" ? await greeter(use.path) : undefined;
      await using program = user(use, permissionFlags(set));
      await play(program, use);
    });

    test(`${operation}() of an abstract name with scoped net names the unscoped flag`, async () => {
      const use = { operation, path: "\0uds-test" };
      assertAsksFor(await refusal(use, ["--allow-net=unix:/uds-test"]), use, "--allow-net");
    });
  }
}

// ---- Nothing asks the user --------------------------------------------------------------------------

/** Runs a use in a terminal of its own, where Deno would ask; gives everything that was shown. */
async function inTerminal(use: Use, flags: string[]): Promise<string> {
  const args = denoArgs("permission_use.ts", flags, [JSON.stringify(use)])
    .filter((arg) => arg !== "--no-prompt");
  const command = [Deno.execPath(), ...args].map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`);
  await using script = new Program("script", ["-qec", command.join(" "), "/dev/null"], {
    stdin: "piped",
    env: { NO_COLOR: "1", TERM: "dumb", SHELL: "/bin/sh" },
  });
  const shown: string[] = [];
  // A question has no line end: what was shown before the program ends or the answer is late.
  for (;;) {
    const line = await within(5000, script.line()).catch(() => undefined);
    if (line === undefined) return shown.join("\n");
    shown.push(line.trimEnd());
    if (/Deno requests/.test(line)) {
      script.kill("SIGKILL");
      return shown.join("\n");
    }
  }
}

const SCRIPT = { needs: ["script"] };

test("a terminal is where Deno asks, if it is asked directly", async () => {
  const shown = await inTerminal({ operation: "Deno.connect", path: "/run/uds-absent.sock" }, []);
  assertStringIncludes(shown, "Deno requests");
}, SCRIPT);

// Together, because each takes a process and most of its time is the start.
test("nothing asks in a terminal without any permission", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await Promise.all(ROWS.map(async (row) => {
    const use = { operation: row.operation, path, options: { ...row.options } };
    const shown = await inTerminal(use, []);
    assertAsksFor(JSON.parse(shown), use, permissionFlags(permissionsOf(row, path)).join(" "));
  }));
}, SCRIPT);

for (const row of ROWS.filter(({ name }) => /^(serve|connect|probe)\(\)$/.test(name))) {
  test(
    `${row.name} does not ask in a terminal for the one permission that is missing`,
    async () => {
      await using dir = new TempDir();
      const path = dir.file("s.sock");
      await Promise.all(
        singles(row).map(async ([kind, index]) => {
          const needs = row.needs(path);
          const missing = needs[kind]?.splice(index, 1)[0];
          const use = { operation: row.operation, path };
          const shown = await inTerminal(use, permissionFlags(needs));
          assertAsksFor(JSON.parse(shown), use, `--allow-${kind}=${missing}`);
        }),
      );
    },
    SCRIPT,
  );
}

test(
  "claim() with exactly its permissions() does not ask for the umask in a terminal",
  async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const shown = inTerminal({ operation: "claim", path }, permissionFlags(owning(path)));
    await using conn = await connect({ path, wait: true });
    assertEquals(decode(await readAll(conn)), "hello");
    assertEquals(await shown, "ready\ndone");
  },
  SCRIPT,
);

// ---- Import and Deno.test ---------------------------------------------------------------------------

test("importing the package needs no permission", async () => {
  const denied = KINDS.filter((kind) => kind !== "import").map((kind) => `--deny-${kind}`);
  const { code, stdout, stderr } = await run(
    Deno.execPath(),
    denoArgs("permission_import.ts", denied),
  );
  assertEquals([code, stderr], [0, ""]);
  for (const name of ["serve", "connect", "claim", "probe", "permissions"]) {
    assert(stdout.trim().split(" ").includes(name), name);
  }
});

// Directly in the directory for temporary files: to make one of its own would need more.
const TEST_PATH = `${Deno.env.get("TMPDIR") || "/tmp"}/uds-${crypto.randomUUID().slice(0, 8)}.sock`;

test("permissions() fit Deno.test, for a server and its client", async () => {
  await using server = await serve(TEST_PATH, async () => {});
  await using conn = await connect(TEST_PATH);
  assertEquals(await readText(conn), null);
  assertEquals(server.addr.path, TEST_PATH);
  assertEquals(Deno.permissions.querySync({ name: "read" }).state, "prompt");
}, { permissions: permissions("serve", TEST_PATH) });

test("permissions() fit Deno.test, and one too few is refused there", async () => {
  const error = await serve(TEST_PATH, async () => {}).catch((error) => error);
  assert(error instanceof Deno.errors.NotCapable);
  assertStringIncludes(error.message, `Run again with --allow-read=${TEST_PATH}.lock`);
}, { permissions: permissions("connect", TEST_PATH) });

test("permissions() of a path below /dev fit Deno.test", async () => {
  const error = await connect("/dev/shm/uds-absent.sock").catch((error) => error);
  assert(error instanceof Deno.errors.NotFound, String(error));
}, { permissions: permissions("connect", "/dev/shm/uds-absent.sock") });
