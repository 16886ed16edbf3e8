import { serve } from "@uds/uds";
import { assertEquals, assertMatch } from "@std/assert";
import { fixture, TempDir, test } from "../_helpers.ts";
import { aForeignServer, handler } from "./_failure.ts";

/** Returns the error that a process of another user gets, with all Deno permissions it needs. */
async function failAsNobody(
  operation: string,
  path: string,
): Promise<Record<string, string | number>> {
  const flags = ["--allow-read", "--allow-write", "--allow-net", "--allow-sys"];
  const use = JSON.stringify({ operation, path });
  await using program = fixture("permission_as_nobody.ts", flags, [use]);
  return JSON.parse(await program.line());
}

test(
  "connect() to a socket with a mode that excludes this user fails with ConnectDenied",
  async () => {
    await using dir = new TempDir(0o755);
    const path = dir.file("s.sock");
    await using _server = await serve({ path, mode: 0o640 }, handler);
    const { message, ...fields } = await failAsNobody("connect", path);
    assertEquals(fields, {
      class: "ConnectDenied",
      operation: "connect",
      path,
      code: "EACCES",
      mode: 0o640,
      uid: 0,
      gid: Deno.gid() as number,
    });
    assertMatch(
      String(message),
      /^Cannot connect to ".*": its mode 0640 and owner 0:\d+ do not .*[^.]$/,
    );
  },
  { root: true },
);

test("connect() in a directory that excludes this user fails with ConnectDenied", async () => {
  await using dir = new TempDir(0o700);
  const path = dir.file("s.sock");
  await using _server = await serve({ path, mode: 0o666 }, handler);
  const { message, ...fields } = await failAsNobody("connect", path);
  assertEquals(fields, { class: "ConnectDenied", operation: "connect", path, code: "EACCES" });
  assertMatch(String(message), /^Cannot connect to ".*": a directory on the way denies it$/);
}, { root: true });

for (const operation of ["claim", "listen", "serve"]) {
  test(
    `${operation}() over a socket that this user may not connect to fails with ConnectDenied`,
    async () => {
      await using dir = new TempDir(0o777);
      const path = dir.file("s.sock");
      using _foreign = aForeignServer(path);
      await Deno.chmod(path, 0o600);
      const { message, ...fields } = await failAsNobody(operation, path);
      // The same bits as of probe() and connect(), without the file type.
      assertEquals(fields, {
        class: "ConnectDenied",
        operation,
        path,
        code: "EACCES",
        mode: 0o600,
        uid: 0,
        gid: Deno.gid() as number,
      });
      assertMatch(
        String(message),
        /^Cannot .*: a socket of uid 0 with mode 0600 is there.*\. Run as that user, or choose another path$/,
      );
    },
    { root: true },
  );

  test(
    `${operation}() in a directory that this user may not write to fails in the common shape`,
    async () => {
      await using dir = new TempDir(0o755);
      const path = dir.file("s.sock");
      const { message, ...fields } = await failAsNobody(operation, path);
      assertEquals(fields, { class: "PermissionDenied", operation, path, code: "EACCES" });
      assertMatch(
        String(message),
        /^Cannot .*: the file system denies it\. Choose a directory that this process may write to$/,
      );
    },
    { root: true },
  );
}
