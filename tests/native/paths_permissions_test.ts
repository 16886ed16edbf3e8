/**
 * Packet sockets at a path need Deno's permissions for it: a grant of FFI does not replace them.
 */

import { assert, assertEquals } from "@std/assert";
import { permissionFlags, permissions } from "@uds/uds";
import { denoArgs, DIES, Program, TempDir, test } from "../_helpers.ts";

/** What a use of a path has returned, or rejected with. */
interface Outcome {
  name: string;
  path: string;
  Class: string;
  message: string;
}

/** Uses some paths in every way, after a command of its own such as strace. */
async function outcomes(before: string[], flags: string[], paths: string[]): Promise<Outcome[]> {
  const [command, ...args] = [
    ...before,
    Deno.execPath(),
    ...denoArgs("paths_use.ts", flags, ["try", ...paths]),
  ] as [string, ...string[]];
  await using program = new Program(command, args);
  return (await program.output()).map((line) => {
    const [name, path, Class, message] = JSON.parse(line);
    return { name, path, Class, message };
  });
}

/** The uses of a path. The others use an abstract name. */
const WITH_FILE = [
  "listenPackets",
  "connectPackets",
  "connectPackets dgram",
  "bindPackets",
  "send",
];

const CALLS = "bind,connect,sendto,sendmsg,unlink,unlinkat,openat,chmod,fchmodat";

test("A grant of FFI alone opens no path and no abstract name", async () => {
  await using dir = new TempDir();
  const [path, trace] = [dir.file("s.sock"), dir.file("trace")];
  const strace = ["strace", "--seccomp-bpf", "-f", "-qq", "-e", `trace=${CALLS}`, "-o", trace];
  const found = await outcomes([...strace, ...DIES], ["--allow-ffi"], [path]);
  assertEquals(found.length, 11);
  for (const { name, Class, message } of found) {
    assertEquals([name, Class], [name, "NotCapable"]);
    const flags = WITH_FILE.includes(name)
      ? [`--allow-read=${path}`, `--allow-write=${path}`, `--allow-net=unix:${path}`]
      : ["--allow-net"];
    for (const flag of flags) assert(message.includes(flag), message);
  }
  const calls = Deno.readTextFileSync(trace);
  assert(calls.includes("openat"), "nothing was traced");
  assert(!calls.includes("s.sock"), "a system call has used the path");
  assert(!calls.includes("uds-paths-use"), "a system call has used the abstract name");
}, { needs: ["strace"] });

test("The permissions of serve and connect, and FFI, are enough", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const flags = permissionFlags(permissions("serve", path));
  for (const { name, Class, message } of await outcomes([], [...flags, "--allow-ffi"], [path])) {
    // The grant is for the path: an abstract name needs all of net.
    const isRefused = !WITH_FILE.includes(name);
    assertEquals([name, Class === "NotCapable", message], [name, isRefused, message]);
  }
});

test("A denied permission for the path is named, and nothing is opened there", async () => {
  await using dir = new TempDir();
  const kinds = ["read", "write", "net"];
  const paths = kinds.map((kind) => dir.file(kind));
  const entries = kinds.map((kind, i) => kind === "net" ? `unix:${paths[i]}` : paths[i]);
  const denials = kinds.map((kind, i) => `--deny-${kind}=${entries[i]}`);
  const found = await outcomes([], ["--allow-all", ...denials], paths);
  for (const { name, path, Class, message } of found) {
    if (!WITH_FILE.includes(name)) continue;
    const i = paths.indexOf(path);
    assertEquals([name, Class], [name, "NotCapable"]);
    assert(message.includes(`--allow-${kinds[i]}=${entries[i]}`), message);
  }
  assertEquals(dir.list(), []);
});

test("Without any permission, the flags for the path and for FFI are named at once", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  for (const { name, message } of await outcomes([], [], [path])) {
    // Its socket is open before it has a path.
    if (!WITH_FILE.includes(name) || name === "send") continue;
    for (const flag of ["read=/", "write=/", "net=unix:/", "ffi=/"]) {
      assert(message.includes(`--allow-${flag}`), `${name}: ${message}`);
    }
  }
});

test("Without FFI the missing flag is named", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const flags = permissionFlags(permissions("serve", path));
  for (const { name, Class, message } of await outcomes([], flags, [path])) {
    assertEquals([name, Class], [name, "NotCapable"]);
    const flag = WITH_FILE.includes(name) ? "--allow-ffi=/" : "--allow-";
    assert(message.includes(`Run again with ${flag}`), message);
  }
  assertEquals(dir.list(), []);
});
