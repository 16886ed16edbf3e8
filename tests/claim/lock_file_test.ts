import { assert, assertEquals, assertRejects } from "@std/assert";
import { openLock } from "../../_internal/lock/lock_file.ts";
import { TempDir, test, turn } from "../_helpers.ts";

for (const order of [[0, 1], [1, 0]] as const) {
  test(`a lock file that blocks two openings is not opened again before both end: ${order}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.lock");
    await Deno.writeTextFile(path, "");
    const { open } = Deno;
    const openings: PromiseWithResolvers<Deno.FsFile>[] = [];
    // Only another user's file blocks, and only without the permission to write.
    Deno.open = () => {
      openings.push(Promise.withResolvers());
      return openings.at(-1)!.promise;
    };
    try {
      const opens = [openLock(path), openLock(path)];
      for (const opening of opens) await assertRejects(() => opening, Deno.errors.TimedOut);
      for (const i of order) {
        await assertRejects(() => openLock(path), Deno.errors.TimedOut);
        assertEquals(openings.length, 2);
        openings[i]!.resolve(await open(path));
        await turn();
      }
    } finally {
      Deno.open = open;
    }
    (await openLock(path)).close();
  });
}

test("a caller that opens a lock file again and again does not hold up a late opening", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.lock");
  await Deno.writeTextFile(path, "");
  const { open } = Deno;
  Deno.open = (...args) => new Promise((resolve) => setTimeout(() => resolve(open(...args)), 1200));
  let tries = 0;
  try {
    await assertRejects(() => openLock(path), Deno.errors.TimedOut);
    Deno.open = open;
    let file: Deno.FsFile | undefined;
    while (file === undefined) {
      // Without the limit, a failure of this test would hang.
      assert(++tries < 100_000);
      file = await openLock(path).catch(() => undefined);
    }
    file.close();
  } finally {
    Deno.open = open;
  }
  assert(tries > 1, `${tries} tries`);
});
