import { socketpair, unreadBytes } from "@uds/uds/native";
import { rpc } from "@uds/uds/rpc";
import { assert, assertEquals } from "@std/assert";
import "./_libc.ts";
import { KIB, test } from "../_helpers.ts";

const methods = { add: ({ a, b }: { a: number; b: number }) => a + b };

test("of many calls in one turn, the first leave before the turn ends", async () => {
  const [a, b] = socketpair();
  using _server = rpc(a, { methods });
  await using client = rpc<typeof methods>(b);
  const answers = Array.from({ length: 1000 }, (_, i) => client.call("add", { a: i, b: 1 }));
  const early = unreadBytes(a);
  assert(early >= 16 * KIB && early < 20 * KIB, `${early}`);
  assertEquals(await Promise.all(answers), answers.map((_, i) => i + 1));
});
