/**
 * Paths in a directory that is reached through a symbolic link, such as `/var/run` and macOS's
 * `/tmp`.
 */

import { permissionFlags, permissions, resolveSocketPath } from "@uds/uds";
import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { fixture, TempDir, test } from "../_helpers.ts";

/** Returns the flags of several sets of permissions. */
function flagsOf(...sets: Deno.PermissionOptionsObject[]): string[] {
  const all: Record<string, string[]> = {};
  for (const [kind, entries] of sets.flatMap((set) => Object.entries(set))) {
    all[kind] = [...new Set([...all[kind] ?? [], ...entries as string[]])];
  }
  return permissionFlags(all);
}

const SERVED = [["alive", "claimed", true], []];
const CALLS: Record<string, unknown> = {
  "serve direct": SERVED,
  "listen direct": [true, []],
  "a stale socket, direct": [["stale", true], []],
  "claim": [true, []],
};

/** Runs the fixture with exactly these permissions, and returns what it printed. */
async function use(
  path: string,
  names: string[],
  ...sets: Deno.PermissionOptionsObject[]
): Promise<Record<string, unknown>> {
  await using program = fixture("symbolic_link_use.ts", flagsOf(...sets), [path, ...names]);
  const { "connect to nothing": refusal, ...facts } = Object.fromEntries(
    (await program.output()).map((line) => JSON.parse(line)),
  );
  assertStringIncludes(refusal[0], "SocketNotFound: Cannot connect to ");
  assertEquals((await program.status).code, 0);
  return facts;
}

test("serve(), listen(), claim() and connect() need no more where a directory is a symbolic link", async () => {
  await using dir = new TempDir(0o700);
  Deno.mkdirSync(dir.file("real/app"), { recursive: true, mode: 0o700 });
  Deno.symlinkSync("real", dir.file("link"));
  const path = dir.file("link/app/a.sock");
  const set = permissions("serve", path, { createDirectory: true, verifyDirectory: true });
  assertEquals(await use(path, ["", ".lock"], set), {
    ...CALLS,
    "createDirectory": [true, []],
    "verifyDirectory": [true, []],
  });
  assertEquals([...Deno.readDirSync(dir.file("real/app"))], []);
});

test("serve() published by rename needs no more where a directory is a symbolic link", async () => {
  await using dir = new TempDir(0o700);
  Deno.mkdirSync(dir.file("real"));
  Deno.symlinkSync(dir.file("real"), dir.file("link"));
  const path = dir.file("link/a.sock");
  const names = ["", ".lock", ".new", ".lock.new"];
  assertEquals(await use(path, names, permissions("serve", path, { publish: "rename" })), {
    ...CALLS,
    "serve rename": SERVED,
    "listen rename": [true, []],
    "a stale socket, rename": [["stale", true], []],
    "takeover": [true, []],
    "healing": [[true, true], []],
    "the lock made again": ["claimed", []],
  });
  assertEquals([...Deno.readDirSync(dir.file("real"))], []);
});

test('resolveSocketPath() refuses ".." behind a symbolic link to another place', async () => {
  await using dir = new TempDir(0o700);
  Deno.mkdirSync(dir.file("deep/target"), { recursive: true });
  Deno.symlinkSync("deep/target", dir.file("link"));
  Deno.symlinkSync("deep", dir.file("beside"));
  Deno.symlinkSync("missing", dir.file("dangling"));
  const path = `${dir.path}/link/../a.sock`;
  const { message } = assertThrows(() => resolveSocketPath(path), TypeError);
  assertEquals(
    message,
    `Invalid socket path "${path}": "${dir.path}/link" is a symbolic link, and behind it ".." leads ` +
      `to "${dir.path}/deep" for the system and to "${dir.path}" for Deno's permissions. ` +
      `Write the path without ".."`,
  );
  for (const way of ["./link/./..//a.sock", "deep/../link/../b/a.sock", "x/../link/x/../../a"]) {
    assertThrows(() => resolveSocketPath(`${dir.path}/${way}`), TypeError, 'behind it ".." leads');
  }
  // A link to a neighbor, no link, and nothing: both ways lead to the same place.
  for (const name of ["beside", "deep", "missing", "dangling", "link/a/.."]) {
    const { length } = name.split("/");
    const ups = "../".repeat(name === "link/a/.." ? 0 : length);
    const expected = name === "link/a/.." ? dir.file("link/a.sock") : dir.file("a.sock");
    assertEquals(resolveSocketPath(`${dir.path}/${name}/${ups}a.sock`), expected);
  }
});

test('serve() without permission to look takes ".." literally, as Deno\'s permissions do', async () => {
  await using dir = new TempDir(0o700);
  Deno.mkdirSync(dir.file("deep/target"), { recursive: true });
  Deno.symlinkSync("deep/target", dir.file("link"));
  const set = permissions("serve", dir.file("a.sock"));
  const facts = await use(`${dir.path}/link/../a.sock`, [], set);
  assertEquals(facts["serve direct"], SERVED);
});
