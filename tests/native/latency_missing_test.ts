import { connect, inherited, listen, pair, serve } from "@uds/uds";
import { assertEquals, assertRejects } from "@std/assert";
import { TempDir, test } from "../_helpers.ts";

test("lowLatency without the native module names the import, and leaves nothing", async () => {
  await using dir = new TempDir();
  const path = dir.file("n.sock");
  const lowLatency = true;
  const calls = [
    () => connect({ path, lowLatency }),
    () => listen({ path, lowLatency }),
    () => serve({ path, lowLatency }, async () => {}),
    () => pair("true", { lowLatency }),
    () => Promise.try(() => inherited({ lowLatency })),
  ];
  const words =
    'the option lowLatency needs system calls that Deno does not have. Add import "@uds/uds/native"';
  for (const call of calls) await assertRejects(call, Deno.errors.NotSupported, words);
  assertEquals(dir.list(), []);
});
