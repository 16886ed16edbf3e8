import {
  listen,
  type ListenOptions,
  NotASocket,
  permissionFlags,
  permissions,
  serve,
} from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { changing, denoArgs, DIES, makeStale, Program, TempDir, test } from "../_helpers.ts";
import { assertRefused, look, modeOf, operationOf, REPLACEMENTS } from "./_claim.ts";

for (const [name, own] of Object.entries({ "listen()": listen, "serve()": serveQuietly })) {
  test(`${name} with publish: "rename" leaves nothing named .new, and nothing at all at the end`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(path);
    await makeStale(`${path}.new`);
    {
      await using owned = await own({ path, publish: "rename", mode: 0o640 });
      assertEquals(owned.addr, { transport: "unix", path });
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      assertEquals(modeOf(path), 0o640);
      (await Deno.connect({ transport: "unix", path })).close();
    }
    assertEquals(dir.list(), []);
  });

  for (const [what, make] of Object.entries(REPLACEMENTS)) {
    for (const suffix of ["", ".new"]) {
      test(`${name} with publish: "rename" does not remove ${what} at <path>${suffix}`, async () => {
        await using dir = new TempDir();
        const path = dir.file("a.sock");
        const owned = await own({ path, publish: "rename" });
        if (suffix === "") Deno.removeSync(path);
        const remove = make(path + suffix);
        const before = look(path + suffix);
        await owned[Symbol.asyncDispose]();
        assertEquals(look(path + suffix), before);
        assertEquals(dir.list(), [`a.sock${suffix}`]);
        remove();
      });
    }
  }

  test(`${name} with publish: "rename" refuses a file at <path>.new, and leaves it`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    Deno.writeTextFileSync(`${path}.new`, "precious");
    const before = look(`${path}.new`);
    await assertRefused(() => own({ path, publish: "rename" }), {
      is: NotASocket,
      says: `"${path}.new": it is a regular file`,
      operation: operationOf(name),
      path: `${path}.new`,
      code: "ENOTSOCK",
    });
    assertEquals(look(`${path}.new`), before);
    assertEquals(dir.list(), ["a.sock.new"]);
  });
}

function serveQuietly(options: ListenOptions) {
  return serve(options, async () => {});
}

for (const publish of ["direct", "rename"] as const) {
  const fact = publish === "rename"
    ? "shows the path only when it is ready"
    : "shows the path before it listens and before its mode is set";
  test(`listen() with publish: "${publish}" ${fact}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    // Each step is so slow that the states between them can be seen.
    const calls = ["listen", "chmod", "fchmodat"].map((call) => `${call}:delay_enter=50000`);
    const flags = permissionFlags(permissions("serve", path, { publish: "rename", mode: 0o600 }));
    const deno = denoArgs("claim_publish.ts", flags, [path, publish]);
    await using server = new Program("strace", [
      ...changing(...calls),
      ...DIES,
      Deno.execPath(),
      ...deno,
    ], {
      stdin: "piped",
    });
    while (!dir.list().includes("a.sock")) await new Promise((resolve) => setTimeout(resolve, 0));
    const mode = modeOf(path);
    const answer = await Deno.connect({ transport: "unix", path })
      .then((conn) => conn.close(), (error: { code: string }) => error.code);
    if (publish === "rename") {
      assertEquals([mode, answer], [0o600, undefined]);
    } else {
      assert(mode !== 0o600);
      assertEquals(answer, "ECONNREFUSED");
    }
    assertEquals(await server.line(), "ready");
    assertEquals(modeOf(path), 0o600);
    assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
    (await Deno.connect({ transport: "unix", path })).close();
    await server.stdin.close();
    assertEquals((await server.status).code, 0);
    assertEquals(dir.list(), []);
  }, { needs: ["strace", "setpriv"] });
}
