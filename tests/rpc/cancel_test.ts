import { assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import { isSocketError } from "@uds/uds";
import { test } from "../_helpers.ts";
import { RawEnd, twoPeers, waiting } from "./_rpc.ts";

interface Request {
  id: unknown;
  method: string;
  params?: unknown;
}

test("call() rejects with the reason of its signal, and the method's signal aborts", async () => {
  const { wait, started, aborted } = waiting();
  await using peers = await twoPeers({ methods: { wait, ok: () => 1 } });
  const controller = new AbortController();
  const call = peers.b.call("wait", {}, { signal: controller.signal });
  await started;
  controller.abort(new Error("enough"));
  await assertRejects(() => call, Error, "enough");
  assertInstanceOf(await aborted, DOMException);
  // The late answer is expected.
  assertEquals(await peers.b.call("ok"), 1);
});

test("call() rejects with TimedOut after its timeout, and the method's signal aborts", async () => {
  const { wait, aborted } = waiting();
  await using peers = await twoPeers({ methods: { wait } });
  const error = await assertRejects(
    () => peers.b.call("wait", {}, { timeout: 10 }),
    Deno.errors.TimedOut,
    "no answer came within 10 ms",
  );
  assertEquals(isSocketError(error) && error.operation, "call");
  assertEquals((error as unknown as { method: string }).method, "wait");
  await aborted;
});

test("the timeout of rpc() limits every call, and one of call() replaces it", async () => {
  const wait = () => new Promise(() => {});
  await using peers = await twoPeers({ methods: { wait } }, { timeout: 10 });
  await assertRejects(() => peers.b.call("wait"), Deno.errors.TimedOut, "10 ms");
  await assertRejects(
    () => peers.b.call("wait", {}, { timeout: 20 }),
    Deno.errors.TimedOut,
    "20 ms",
  );
});

test("call() with a signal that has aborted sends nothing", async () => {
  await using end = await RawEnd.open();
  const signal = AbortSignal.abort(new Error("before"));
  await assertRejects(() => end.peer.call("any", {}, { signal }), Error, "before");
  await end.peer.notify("last");
  assertEquals(await end.receive(), { jsonrpc: "2.0", method: "last" });
});

test("a call that is given up sends $/cancelRequest, or what cancelMethod says", async () => {
  for (const cancelMethod of [undefined, "stop", null]) {
    await using end = await RawEnd.open(cancelMethod === undefined ? {} : { cancelMethod });
    const controller = new AbortController();
    const call = end.peer.call("any", {}, { signal: controller.signal });
    const { id } = await end.receive() as Request;
    controller.abort();
    await assertRejects(() => call, DOMException);
    if (cancelMethod !== null) {
      const method = cancelMethod ?? "$/cancelRequest";
      assertEquals(await end.receive(), { jsonrpc: "2.0", method, params: { id } });
    }
    // A late answer is expected once.
    await end.send(JSON.stringify({ jsonrpc: "2.0", id, result: 1 }));
    await end.peer.notify("last");
    assertEquals((await end.receive() as Request).method, "last");
    assertEquals(end.errors, []);
  }
});

test("a canceled request is answered with -32800, unless its method has a result", async () => {
  const { wait, started } = waiting();
  const later = Promise.withResolvers<string>();
  await using end = await RawEnd.open({ methods: { wait, later: () => later.promise } });
  await end.send('{"jsonrpc":"2.0","id":"a","method":"wait"}');
  await end.send('{"jsonrpc":"2.0","id":"b","method":"later"}');
  await started;
  await end.send('{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"b"}}');
  await end.send('{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"a"}}');
  const { id, error } = await end.receive() as { id: string; error: { code: number } };
  assertEquals([id, error.code], ["a", -32800]);
  later.resolve("done");
  assertEquals(await end.receive(), { jsonrpc: "2.0", id: "b", result: "done" });
  assertEquals(end.errors, []);
});

test("a canceled request that waits does not run", async () => {
  const gate = Promise.withResolvers<void>();
  let runs = 0;
  await using end = await RawEnd.open({
    maxConcurrent: 1,
    methods: { gate: () => gate.promise, count: () => ++runs },
  });
  await end.send('{"jsonrpc":"2.0","id":1,"method":"gate"}');
  await end.send('{"jsonrpc":"2.0","id":2,"method":"count"}');
  await end.send('{"jsonrpc":"2.0","id":3,"method":"count"}');
  await end.send('{"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":2}}');
  const { id, error } = await end.receive() as { id: number; error: { code: number } };
  assertEquals([id, error.code], [2, -32800]);
  gate.resolve();
  assertEquals((await end.receive() as Request).id, 1);
  assertEquals(await end.receive(), { jsonrpc: "2.0", id: 3, result: 1 });
});

test("a cancellation of an unknown request, or without an id, does nothing", async () => {
  await using end = await RawEnd.open();
  for (const params of ['{"id":77}', "{}", "[]", "null", '{"id":{}}']) {
    await end.send(`{"jsonrpc":"2.0","method":"$/cancelRequest","params":${params}}`);
  }
  assertEquals(
    await end.ask('{"jsonrpc":"2.0","id":1,"method":"sum","params":[1]}'),
    { jsonrpc: "2.0", id: 1, result: 1 },
  );
  assertEquals(end.errors, []);
});

test("the signal of a method aborts when the caller has closed the connection", async () => {
  const { wait, started, aborted } = waiting();
  await using end = await RawEnd.open({ methods: { wait } });
  await end.send('{"jsonrpc":"2.0","id":1,"method":"wait"}');
  await started;
  end.conn.close();
  await aborted;
  await end.peer.closed;
});

test("the signal of a method aborts when its own side closes", async () => {
  const { wait, started, aborted } = waiting();
  await using end = await RawEnd.open({ methods: { wait } });
  await end.send('{"jsonrpc":"2.0","id":1,"method":"wait"}');
  await started;
  end.peer.close();
  await aborted;
});
