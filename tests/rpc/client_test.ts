import {
  CallInterrupted,
  ConnectTimeout,
  InsecurePath,
  listen,
  RpcError,
  SocketNotFound,
} from "@uds/uds";
import { rpcClient, type RpcPeer } from "@uds/uds/rpc";
import { assert, assertEquals, assertInstanceOf, assertThrows } from "@std/assert";
import { isPending, TempDir, test, turn } from "../_helpers.ts";
import { type Api, failure, startApi } from "./_client.ts";

test("rpcClient() connects at the first call, and keeps the connection", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using api = await startApi(path);
  await using client = rpcClient<Api>(path);
  await turn();
  assertEquals(api.connections(), 0);
  assertEquals(await Promise.all([1, 2, 3].map((n) => client.call("add", [n, 1]))), [2, 3, 4]);
  assertEquals(await client.call("add", [4, 1]), 5);
  assertEquals(api.connections(), 1);
});

test("rpcClient() connects again at the first call after the connection has ended", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using api = await startApi(path);
  let peer: RpcPeer<Api> | undefined;
  await using client = rpcClient<Api>({ path, onConnect: (connected) => void (peer = connected) });
  for (let i = 1; i <= 5; i++) {
    assertEquals(await client.call("add", [i, 1]), i + 1);
    assertEquals(api.connections(), i);
    api.cut();
    await peer!.closed;
  }
});

test("calls wait for a server that starts later, and are sent in their order", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using client = rpcClient<Api>(path);
  const calls = ["a", "b", "c"].map((id) => client.call("hold", [id]));
  assert(await isPending(Promise.race(calls)));
  await using api = await startApi(path);
  api.release();
  assertEquals(await Promise.all(calls), ["a", "b", "c"]);
  assertEquals(api.held, ["a", "b", "c"]);
});

test("a call without a server rejects after connectTimeout, with the last refusal", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using client = rpcClient<Api>({ path, connectTimeout: 50 });
  const error = await failure(client.call("add", [1, 2]));
  assertInstanceOf(error, ConnectTimeout);
  assertInstanceOf(error.cause, SocketNotFound);
  assertEquals([error.operation, error.path, error.code], ["connect", path, "ETIMEDOUT"]);
  assertEquals(
    error.message,
    `Cannot connect to "${path}": no connection within 50 ms. The last attempt: ${error.cause.message}`,
  );
});

test("timeout and signal of a call end its wait for a connection, and leave nothing", async () => {
  await using dir = new TempDir();
  await using client = rpcClient<Api>(dir.file("a.sock"));
  const reason = new Error("no longer");
  const abort = new AbortController();
  const aborted = client.call("add", [1, 2], { signal: abort.signal });
  const late = client.call("add", [1, 2], { timeout: 20 });
  assertInstanceOf(await failure(late), ConnectTimeout);
  abort.abort(reason);
  assertEquals(await failure(aborted), reason);
  assertEquals(await failure(client.call("add", [1, 2], { signal: abort.signal })), reason);
});

test("timeout and signal of a call end its wait for the answer", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using api = await startApi(path);
  await using client = rpcClient<Api>({ path, timeout: 20 });
  const late = await failure(client.call("hold", ["a"]));
  assertInstanceOf(late, Deno.errors.TimedOut);
  assert(!(late instanceof ConnectTimeout), `${late}`);
  const abort = new AbortController();
  const held = api.nextHold();
  const aborted = client.call("hold", ["b"], { signal: abort.signal, timeout: Infinity });
  await held;
  abort.abort(new Error("no longer"));
  assertEquals((await failure(aborted)).message, "no longer");
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(api.connections(), 1);
});

test("a call in flight rejects with CallInterrupted when the connection ends", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using api = await startApi(path);
  await using client = rpcClient<Api>(path);
  const held = api.nextHold();
  const call = client.call("hold", ["a"]);
  await held;
  api.cut();
  const error = await failure(call);
  assertInstanceOf(error, CallInterrupted);
  assertEquals(
    [error.operation, error.path, error.method, error.sent],
    ["call", path, "hold", true],
  );
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(api.held, ["a"]);
});

for (
  const [name, ofClient, ofCall] of [
    ["a list in the options", ["hold"], undefined],
    ["an option of the call", [], true],
  ] as const
) {
  test(`an idempotent call is sent again until it is answered: ${name}`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    await using api = await startApi(path);
    await using client = rpcClient<Api>({ path, idempotent: [...ofClient] });
    const options = ofCall === undefined ? {} : { idempotent: ofCall };
    let held = api.nextHold();
    const call = client.call("hold", ["a"], options);
    for (let i = 0; i < 3; i++) {
      await held;
      held = api.nextHold();
      api.cut();
    }
    await held;
    api.release();
    assertEquals(await call, "a");
    assertEquals(api.held, ["a", "a", "a", "a"]);
    assertEquals(api.connections(), 4);
  });
}

test("a call can be excluded from the idempotent methods", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using api = await startApi(path);
  await using client = rpcClient<Api>({ path, idempotent: ["hold"] });
  const held = api.nextHold();
  const call = client.call("hold", ["a"], { idempotent: false });
  await held;
  api.cut();
  assertInstanceOf(await failure(call), CallInterrupted);
});

test("an error of the server is final, also for an idempotent call", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using api = await startApi(path);
  await using client = rpcClient<Api>({ path, idempotent: ["fail"] });
  const error = await failure(client.call("fail"));
  assertInstanceOf(error, RpcError);
  assertEquals(error.message, "as asked");
  assertEquals(api.connections(), 1);
});

test("what waiting cannot help rejects at once: another owner, a wrong argument", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using _listener = await listen(path);
  await using client = rpcClient<Api>({ path, owner: Deno.uid()! + 1 });
  assertInstanceOf(await failure(client.call("add", [1, 2])), InsecurePath);
  await using absent = rpcClient(dir.file("b.sock"));
  for (const args of [[1], ["add", 1], ["add", [1], 1], ["add", [1], { timeuot: 1 }]]) {
    const call = absent.call as (...args: unknown[]) => Promise<unknown>;
    assertInstanceOf(await failure(call.apply(absent, args)), TypeError);
  }
  assertInstanceOf(await failure(absent.call("add", [1], { timeout: 0 })), RangeError);
});

test(
  "what waiting cannot help rejects at once: a missing permission",
  async () => {
    await using client = rpcClient<Api>("/run/absent.sock");
    assertInstanceOf(await failure(client.call("add", [1, 2])), Deno.errors.NotCapable);
  },
  { permissions: {} },
);

test("rpcClient() checks its arguments before anything happens", () => {
  const wrong: [options: unknown, message: string][] = [
    [1, "expected an object"],
    [{ path: "" }, "empty"],
    [{ path: "/a", pathh: 1 }, 'Invalid option "pathh"'],
    [{ path: "/a", draining: AbortSignal.abort() }, 'Invalid option "draining"'],
    [{ path: "/a", owner: "root" }, "owner"],
    [{ path: "/a", connectTimeout: 0 }, "connectTimeout"],
    [{ path: "/a", idempotent: "add" }, "idempotent"],
    [{ path: "/a", onConnect: 1 }, "onConnect"],
    [{ path: "/a", maxCalls: 0 }, "maxCalls"],
    [{ path: "/a", methods: 1 }, "methods"],
  ];
  for (const [options, message] of wrong) {
    assertThrows(() => rpcClient(options as string), Error, message);
  }
  assertThrows(
    () => (rpcClient as (...args: unknown[]) => void)("/a", {}),
    TypeError,
    "rpcClient({ path, idempotent })",
  );
});
