import { permissionFlags, permissions } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { denoArgs, run, TempDir, test } from "../_helpers.ts";
import type { Use } from "../fixtures/permission_use.ts";
import { assertAsksFor, greeter, play, ROWS, singles, user } from "./_permissions.ts";

// ---- Missing permissions are named --------------------------------------------------------------

/** Runs a use that must be refused. Returns the error as the program prints it. */
async function refusal(use: Use, flags: string[]): Promise<Record<string, string>> {
  const args = denoArgs("permission_use.ts", flags, [JSON.stringify(use)]);
  const { stdout, stderr } = await run(Deno.execPath(), args);
  assertEquals(stderr, "");
  return JSON.parse(stdout);
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

// ---- Abstract names -----------------------------------------------------------------------------

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
