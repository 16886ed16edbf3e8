import { permissionFlags, permissions } from "@uds/uds";
import { assert, assertEquals, assertThrows } from "@std/assert";
import { test } from "../_helpers.ts";
import { KINDS, permissionsOf, ROWS } from "./_permissions.ts";

// ---- permissions() ------------------------------------------------------------------------------

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

for (
  const path of ["/dev/shm/s.sock", "/dev/log", "/proc/self/cwd/s.sock", "/sys/s.sock"]
) {
  for (const operation of ["serve", "claim", "connect", "probe"] as const) {
    test(`permissions("${operation}", "${path}") are all permissions`, () => {
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

test("permissions() recognizes /dev in a path with dots", () => {
  assertEquals(permissionFlags(permissions("connect", "/run/../dev/log")), ["--allow-all"]);
  assertEquals(permissionFlags(permissions("connect", new URL("file:///run/..%2Fdev/log"))), [
    "--allow-all",
  ]);
});

test("permissions() returns a new object, which may be changed", () => {
  const first = permissions("connect", "/dev/log");
  first.read = false;
  assertEquals(permissions("connect", "/dev/log").read, true);
  (permissions("connect", "/run/s.sock").read as string[]).push("/etc");
  assertEquals(permissions("connect", "/run/s.sock").read, ["/run/s.sock"]);
});

// ---- permissionFlags() --------------------------------------------------------------------------

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
    ["a URL that is not a file: URL", { read: [new URL("https://host/a")] }, "https://host/a"],
  ] as [string, Deno.PermissionOptionsObject, string][]
) {
  test(`permissionFlags() refuses ${name} with a TypeError`, () => {
    const error = assertThrows(() => permissionFlags(set), TypeError, says);
    assertEquals(error.constructor, TypeError);
  });
}
