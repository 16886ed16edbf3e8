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

test(
  "serve({ fd }) and listen({ fd }) allow the process to end after unref(), not after ref()",
  async () => {
    await using dir = new TempDir();
    const start = (...args: string[]) => {
      const program = [Deno.execPath(), ...denoArgs("server_ref.ts", ["--deny-env"], args)];
      const launch = [fixturePath("fd_launch.py"), dir.path, "a listener", "--"];
      return new Program("python3", [...launch, ...program]);
    };
    for (const how of ["serve", "listen"]) {
      await using free = start("3", how, "unref");
      assertEquals(await free.output(), ["listening"]);
      assertEquals((await free.status).code, 0);
      await Deno.remove(dir.file("given.sock0"));
      await using kept = start("3", how, "ref");
      assertEquals(await kept.line(), "listening");
      assertEquals(await kept.line(), "still there");
      await Deno.remove(dir.file("given.sock0"));
    }
  },
  { needs: ["python3"] },
);
