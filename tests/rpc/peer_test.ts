import { assertEquals } from "@std/assert";
import { rpc, socketpair } from "@uds/uds";
import { test } from "../_helpers.ts";

interface Arithmetic {
  add(params: { a: number; b: number }): number;
  subtract(params: [number, number]): number;
}

test("call() resolves to the result of a method of the peer", async () => {
  const [a, b] = await socketpair();
  await using server = rpc(a, {
    methods: {
      add: ({ a, b }: { a: number; b: number }) => a + b,
      subtract: async ([a, b]: [number, number]) => await Promise.resolve(a - b),
    },
  });
  await using client = rpc<Arithmetic>(b);
  assertEquals(await client.call("add", { a: 1, b: 2 }), 3);
  assertEquals(await client.call("subtract", [5, 3]), 2);
  client.close();
  await server.closed;
});
