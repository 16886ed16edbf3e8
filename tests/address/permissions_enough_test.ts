import { connect, permissionFlags, permissions, serve } from "@uds/uds";
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { denoArgs, makeStale, readText, run, TempDir, test } from "../_helpers.ts";
import { greeter, KINDS, permissionsOf, play, type Row, ROWS, user } from "./_permissions.ts";

/** Prepares the path: with a dead socket wherever that needs more permissions than no file. */
async function prepare(row: Row, path: string): Promise<AsyncDisposable | undefined> {
  if (row.operation === "connect") return await greeter(path);
  if (row.options?.createDirectory) return;
  if (row.options?.connect === false) {
    // This process holds the lock, because a probe without a connection only sees that.
    return await serve(path, async () => {});
  }
  await makeStale(path);
  if (row.options?.publish !== "rename") return;
  await makeStale(`${path}.new`);
  if (row.operation === "claim") await makeStale(`${path}.old`);
}

// ---- permissions() is enough, and no more than is used ------------------------------------------

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

    // Deno records the permissions that were checked, not those that were only queried.
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

/** Returns the files below a directory, without the directories. */
function leftFiles(directory: string): string[] {
  return [...Deno.readDirSync(directory)].flatMap((entry) =>
    entry.isDirectory ? leftFiles(`${directory}/${entry.name}`) : [entry.name]
  );
}

// ---- Import and Deno.test -----------------------------------------------------------------------

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

// Directly in the directory for temporary files, because making another one needs more permissions.
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
