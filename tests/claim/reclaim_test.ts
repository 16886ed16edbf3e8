import { listen, SocketInUse } from "@uds/uds";
import { assert, assertEquals } from "@std/assert";
import { fixture, makeStale, TempDir, test } from "../_helpers.ts";
import { lockContent } from "../_lock.ts";
import { assertRefused, look, modeOf, operationOf, ownerFlags, OWNERS } from "./_claim.ts";

for (const [name, own] of Object.entries(OWNERS)) {
  test(`${name} reclaims a stale socket file`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(path);
    const stale = look(path);
    {
      await using _owned = await own(path);
      const fresh = look(path);
      assert(fresh.ino !== stale.ino || fresh.mtime !== stale.mtime);
      (await Deno.connect({ transport: "unix", path })).close();
    }
    assertEquals(dir.list(), []);
  });

  test(`${name} with existing: "fail" refuses a stale socket file, and leaves it`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await makeStale(path);
    const stale = look(path);
    const error = await assertRefused<SocketInUse>(() => own(path, { existing: "fail" }), {
      is: SocketInUse,
      says: `"${path}": a socket is there already, and existing: "fail" removes none`,
      operation: operationOf(name),
      path,
      code: "EADDRINUSE",
    });
    assertEquals(error.holder, undefined);
    assertEquals(look(path), stale);
    assertEquals(dir.list(), ["a.sock"]);
  });

  test(`${name} with existing: "fail" takes a path where nothing is`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    {
      await using _owned = await own(path, { existing: "fail" });
      (await Deno.connect({ transport: "unix", path })).close();
    }
    assertEquals(dir.list(), []);
  });

  test(`${name} leaves no lock file behind when it is closed`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    for (let i = 0; i < 3; i++) {
      await using _owned = await own(path);
      assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
      assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid));
      assertEquals(modeOf(`${path}.lock`), 0o700);
    }
    assertEquals(dir.list(), []);
  });
}

test("listen() reclaims what a killed server left: its socket, and its lock with its pid", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using victim = fixture("claim_greeter.ts", ownerFlags(path), [path, "serve"]);
  await victim.line();
  victim.kill("SIGKILL");
  await victim.status;
  assertEquals(dir.list(), ["a.sock", "a.sock.lock"]);
  assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(victim.pid));
  {
    await using _listener = await listen(path);
    assertEquals(Deno.readTextFileSync(`${path}.lock`), lockContent(Deno.pid));
  }
  assertEquals(dir.list(), []);
});
