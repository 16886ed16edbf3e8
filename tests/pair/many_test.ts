import { assert, assertEquals } from "@std/assert";
import { fixture, openDescriptors, pseudoRandom, readAll, test } from "../_helpers.ts";
import { assertNoneLeft, assertSameBytes, children, shell } from "./_pair.ts";

test(
  "pair() of 1,000 children one after the other leaves no process, descriptor or memory",
  async () => {
    const flags = ["--allow-all", "--v8-flags=--expose-gc"];
    await using parent = fixture("pair_many.ts", flags, ["1000"]);
    const { ms, inUse, failed, left } = JSON.parse(await parent.line());
    console.log(`1,000 children: ${ms} ms each, in use after each 250: ${inUse.join(", ")} MiB`);
    assertEquals([failed, left.children], [0, 0]);
    // Deno opens two or three of its own.
    assert(left.descriptors < 5, `${left.descriptors} descriptors are left`);
    const growth = inUse.at(-1) - inUse[0];
    assert(growth < 2, `it grew by ${growth} MiB over 750 children`);
  },
  { deadline: 40_000 },
);

test("pair() of 64 children at once works, and leaves nothing", async () => {
  const processes = children();
  const before = openDescriptors();
  await Promise.all(Array.from({ length: 64 }, async (_, i) => {
    await using child = await shell("exec cat <&3 >&3");
    const data = pseudoRandom(100_000, i + 1);
    const [back] = await Promise.all([
      readAll(child.conn),
      child.conn.write(data).then(() => child.conn.closeWrite()),
    ]);
    assertSameBytes(back, data);
    assertEquals((await child.status).code, 0);
  }));
  assertEquals(children(), processes);
  assertNoneLeft(before);
});
