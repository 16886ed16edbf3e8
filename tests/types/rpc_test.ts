/**
 * The types of calls. The runner checks the types: each `@ts-expect-error` fails unless there is
 * one.
 */

import { type MethodsOf, rpc, type RpcContext, type RpcPeer } from "@uds/uds/rpc";
import { assertEquals } from "@std/assert";
import { test } from "../_helpers.ts";
import { twoPeers } from "../rpc/_rpc.ts";

interface Point {
  x: number;
  y: number;
}
interface Remote {
  add(params: Point): number;
  negate(params: [number]): Promise<number>;
  log(params?: { text: string }): void;
  stop(): void;
  pointer: (params: Point) => Point;
}

const methods: MethodsOf<Remote> = {
  add: ({ x, y }) => x + y,
  negate: async ([n], { signal }) => {
    signal.throwIfAborted();
    return await Promise.resolve(-n);
  },
  log() {},
  stop() {},
  pointer: (point) => Promise.resolve(point),
};

/** Compiles only if both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends (<T>() => T extends B ? 1 : 2) ? true
  : false;

function isSame<A, B>(_same: Same<A, B>): void {}

test("calls of an interface need no cast", async () => {
  await using peers = await twoPeers<Remote>({ methods });
  const client: RpcPeer<Remote> = peers.b;
  const sum = await client.call("add", { x: 1, y: 2 });
  isSame<typeof sum, number>(true);
  assertEquals(sum, 3);
  const negative = await client.call("negate", [1], { timeout: 1000 });
  isSame<typeof negative, number>(true);
  assertEquals(negative, -1);
  const point = await client.call("pointer", { x: 1, y: 2 });
  isSame<typeof point, Point>(true);
  await client.call("log");
  await client.call("log", { text: "x" });
  await client.call("stop");
  await client.call("stop", undefined, { timeout: 1000 });
  await client.notify("log", { text: "x" });
  await client.notify("stop");
});

test("methods without an interface have their own types", async () => {
  const own = {
    double: ({ n }: { n: number }) => 2 * n,
    later: async (_params: { ms: number }, { signal }: RpcContext) =>
      await Promise.resolve(`${signal.aborted}`),
  };
  await using peers = await twoPeers<typeof own>({ methods: own });
  const double = await peers.b.call("double", { n: 2 });
  isSame<typeof double, number>(true);
  const later = await peers.b.call("later", { ms: 1 });
  isSame<typeof later, string>(true);
  assertEquals([double, later], [4, "false"]);
});

test("a peer without an interface takes any call, with an unknown result", async () => {
  await using peers = await twoPeers({ methods });
  const point: Point = { x: 1, y: 2 };
  const result = await peers.b.call("add", point, { timeout: 1000 });
  isSame<typeof result, unknown>(true);
  assertEquals(result, 3);
});

/** Never runs: what is wrong in it must not compile. */
export async function wrongCalls(client: RpcPeer<Remote>): Promise<void> {
  // @ts-expect-error: the name of the method is wrong
  await client.call("sub", { x: 1, y: 2 });
  // @ts-expect-error: the parameters are missing
  await client.call("add");
  // @ts-expect-error: a parameter is missing
  await client.call("add", { x: 1 });
  // @ts-expect-error: a parameter is of the wrong kind
  await client.call("add", { x: 1, y: "2" });
  // @ts-expect-error: a parameter is surplus
  await client.call("add", { x: 1, y: 2, z: 3 });
  // @ts-expect-error: the parameters are not by position
  await client.call("add", [1, 2]);
  // @ts-expect-error: the parameters are not by name
  await client.call("negate", { n: 1 });
  // @ts-expect-error: there are too many parameters
  await client.call("negate", [1, 2]);
  // @ts-expect-error: the method has no parameters
  await client.call("stop", { x: 1 });
  // @ts-expect-error: the option does not exist
  await client.call("add", { x: 1, y: 2 }, { wait: 1 });
  // @ts-expect-error: the result is a number
  const _text: string = await client.call("add", { x: 1, y: 2 });
  // @ts-expect-error: the name of the notification is wrong
  await client.notify("lgo", { text: "x" });
  // @ts-expect-error: the parameter of the notification is wrong
  await client.notify("log", { txt: "x" });
}

/** Methods that must not compile, each for the reason in its name. */
export const WRONG_METHODS: Record<string, MethodsOf<{ add(params: Point): number }>> = {
  // @ts-expect-error: Type 'string' is not assignable
  aResultOfTheWrongKind: { add: ({ x, y }) => `${x}${y}` },
  // @ts-expect-error: Type 'Promise<string>' is not assignable
  aPromiseOfTheWrongKind: { add: async ({ x }) => await Promise.resolve(`${x}`) },
  // @ts-expect-error: Property 'z' does not exist
  aParameterThatDoesNotExist: { add: ({ z }) => z },
  // @ts-expect-error: Types of parameters are incompatible
  aParameterOfTheWrongKind: { add: ({ x }: { x: string }) => x.length },
  // @ts-expect-error: Property 'add' is missing
  aMissingMethod: {},
  // @ts-expect-error: 'sub' does not exist
  aSurplusMethod: { add: ({ x, y }) => x + y, sub: () => 1 },
};

/** Never runs: options that must not compile. */
export function wrongOptions(conn: Parameters<typeof rpc>[0]): void {
  // @ts-expect-error: a method is a function
  rpc(conn, { methods: { add: 1 } });
  // @ts-expect-error: the option does not exist
  rpc(conn, { method: {} });
}
