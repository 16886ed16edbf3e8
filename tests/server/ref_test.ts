import { connect, permissionFlags, permissions } from "@uds/uds";
import { assertEquals } from "@std/assert";
import { denoArgs, fixture, fixturePath, Program, TempDir, test } from "../_helpers.ts";

for (const how of ["serve", "listen"]) {
  test(`${how}() allows the process to end after unref()`, async () => {
    await using dir = new TempDir();
    const path = dir.file("u.sock");
    const flags = permissionFlags(permissions("serve", path));
    await using program = fixture("server_ref.ts", flags, [path, how, "unref"]);
    assertEquals(await program.output(), ["listening"]);
    assertEquals(await program.status.then(({ code, signal }) => [code, signal]), [0, null]);
  });

  test(`${how}() keeps the process alive after ref()`, async () => {
    await using dir = new TempDir();
    const path = dir.file("k.sock");
    const flags = permissionFlags(permissions("serve", path));
    await using program = fixture("server_ref.ts", flags, [path, how, "ref"]);
    assertEquals(await program.line(), "listening");
    assertEquals(await program.line(), "still there");
    (await connect(path)).close();
  });
}

/** Starts a server at a listening descriptor 3. */
function atDescriptor(dir: TempDir, ...args: string[]): Program {
  const program = [Deno.execPath(), ...denoArgs("server_ref.ts", ["--deny-env"], ["3", ...args])];
  const launch = [fixturePath("fd_launch.py"), dir.path, "a listener", "--"];
  return new Program("python3", [...launch, ...program]);
}

test("listen({ fd }) allows the process to end after unref()", async () => {
  await using dir = new TempDir();
  await using program = atDescriptor(dir, "listen", "unref");
  assertEquals(await program.output(), ["listening"]);
  assertEquals((await program.status).code, 0);
}, { needs: ["python3"] });

test("serve({ fd }) keeps the process alive after ref()", async () => {
  await using dir = new TempDir();
  await using program = atDescriptor(dir, "serve", "ref");
  assertEquals(await program.line(), "listening");
  assertEquals(await program.line(), "still there");
}, { needs: ["python3"] });
