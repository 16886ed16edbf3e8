import { assert, assertEquals, assertRejects } from "@std/assert";
import { RpcError } from "@uds/uds";
import { RPC_CODES } from "@uds/uds/rpc";
import { test, testAlone } from "../_helpers.ts";
import { RawEnd, twoPeers } from "./_rpc.ts";

const request = (id: number, method: string, params: unknown = {}) =>
  JSON.stringify({ jsonrpc: "2.0", id, method, params });

interface Answer {
  id: number;
  result?: unknown;
  error?: { code: number };
}

test("at most maxConcurrent methods run, and the others in the order of their requests", async () => {
  const gates: PromiseWithResolvers<void>[] = [];
  const started: number[] = [];
  await using end = await RawEnd.open({
    maxConcurrent: 2,
    methods: {
      wait({ n }: { n: number }) {
        started.push(n);
        const gate = Promise.withResolvers<void>();
        gates.push(gate);
        return gate.promise.then(() => n);
      },
      now: ({ n }: { n: number }) => void started.push(n),
    },
  });
  for (const n of [1, 2, 3]) await end.send(request(n, "wait", { n }));
  await end.send(request(4, "now", { n: 4 }));
  await end.send(request(5, "none"));
  // This one is refused at once, which shows that the others have come.
  assertEquals((await end.receive() as Answer).id, 5);
  assertEquals(started, [1, 2]);
  gates[1]!.resolve();
  assertEquals((await end.receive() as Answer).id, 2);
  assertEquals(started, [1, 2, 3]);
  gates[0]!.resolve();
  assertEquals((await end.receive() as Answer).id, 1);
  assertEquals((await end.receive() as Answer).id, 4);
  gates[2]!.resolve();
  assertEquals((await end.receive() as Answer).id, 3);
  assertEquals(started, [1, 2, 3, 4]);
});

test("a flood of requests stops at maxQueued, and all are answered in the end", async () => {
  const gate = Promise.withResolvers<void>();
  await using end = await RawEnd.open({
    maxConcurrent: 3,
    maxQueued: 10,
    methods: { wait: () => gate.promise },
  });
  const text = "x".repeat(1000);
  const COUNT = 3000;
  let sent = 0;
  const flood = (async () => {
    for (; sent < COUNT; sent++) {
      await end.lines.send(request(sent, "wait", { text }));
      // Otherwise the channel would take a mebibyte ahead of the kernel.
      await end.lines.flush();
    }
  })();
  let before = -1;
  while (before < sent) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  // What the kernel holds, one read of 256 KiB, and the queue.
  assert(sent < 1000, `${sent} requests were taken`);
  gate.resolve();
  const answered = new Set<number>();
  while (answered.size < COUNT) answered.add((await end.receive() as Answer).id);
  await flood;
}, { deadline: 20_000 });

test("a slow reader stops the methods, and gets every answer in the end", async () => {
  let runs = 0;
  const text = "x".repeat(10_000);
  await using end = await RawEnd.open({
    maxConcurrent: 10,
    maxQueued: 10,
    methods: {
      large() {
        runs++;
        return text;
      },
    },
  });
  const COUNT = 2000;
  const flood = (async () => {
    for (let i = 0; i < COUNT; i++) await end.lines.send(request(i, "large"));
  })();
  let before = -1;
  while (before < runs) {
    before = runs;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  // A mebibyte of answers, and what the kernel holds.
  assert(runs < 400, `${runs} methods have run`);
  for (let i = 0; i < COUNT; i++) assertEquals((await end.receive() as Answer).id, i);
  await flood;
}, { deadline: 20_000 });

test(
  "two peers that call each other with more than all buffers hold get every answer",
  async () => {
    const text = "x".repeat(2000);
    const methods = { echo: ({ text }: { text: string }) => text };
    await using peers = await twoPeers({ methods, maxQueued: 10_000 }, {
      methods,
      maxQueued: 10_000,
    });
    const flood = (peer: typeof peers.a) =>
      Array.from({ length: 2000 }, () => peer.call("echo", { text }));
    const results = await Promise.all([...flood(peers.a), ...flood(peers.b)]);
    assertEquals(results.length, 4000);
  },
  { deadline: 20_000 },
);

test("a peer that waits for an answer reads on, and refuses requests beyond maxQueued", async () => {
  await using end = await RawEnd.open({
    maxConcurrent: 1,
    maxQueued: 2,
    methods: { back: async () => await end.peer.call("more") },
  });
  for (let id = 0; id < 5; id++) await end.send(request(id, "back"));
  const more = await end.receive() as Answer;
  for (const id of [3, 4]) {
    const { id: refused, error } = await end.receive() as Answer;
    assertEquals([refused, error?.code], [id, RPC_CODES.BUSY]);
  }
  await end.send(JSON.stringify({ jsonrpc: "2.0", id: more.id, result: "yes" }));
  const { id, result } = await end.receive() as Answer;
  assertEquals([id, result], [0, "yes"]);
});

test("a batch of more than maxBatch requests is refused as a whole", async () => {
  let runs = 0;
  await using end = await RawEnd.open({ maxBatch: 3, methods: { count: () => ++runs } });
  const batch = (size: number) =>
    `[${Array.from({ length: size }, (_, id) => request(id, "count")).join()}]`;
  assertEquals((await end.ask(batch(4)) as Answer).error?.code, -32600);
  assertEquals(runs, 0);
  assertEquals((await end.ask(batch(3)) as Answer[]).length, 3);
});

// It needs 750 MB of memory.
testAlone("answers to a batch that no string can hold fail together, and calls go on", async () => {
  const large = "x".repeat(60_000_000);
  await using end = await RawEnd.open({
    methods: { later: () => Promise.resolve(large), small: () => 1 },
  });
  const batch = Array.from({ length: 10 }, (_, id) => request(id, "later"));
  const answers = await end.ask(`[${batch}]`) as Answer[];
  assertEquals(answers.map(({ id }) => id), batch.map((_, id) => id));
  assert(answers.every(({ error }) => error?.code === RPC_CODES.INTERNAL_ERROR));
  assertEquals(end.errors.length, 1);
  assertEquals((await end.ask(request(1, "small")) as Answer).result, 1);
}, { deadline: 20_000 });

test("call() rejects with Busy beyond maxCalls, and sends nothing", async () => {
  await using end = await RawEnd.open({ maxCalls: 2 });
  const calls = [end.peer.call("a"), end.peer.call("b")];
  const error = await assertRejects(() => end.peer.call("c"), Deno.errors.Busy, "2 calls wait");
  assertEquals((error as unknown as { operation: string }).operation, "call");
  for (const _ of calls) {
    const { id } = await end.receive() as Answer;
    await end.send(JSON.stringify({ jsonrpc: "2.0", id, result: null }));
  }
  await Promise.all(calls);
  await end.peer.notify("d");
  assertEquals((await end.receive() as { method: string }).method, "d");
});

test("notify() waits while the peer does not read", async () => {
  await using end = await RawEnd.open();
  const text = "x".repeat(100_000);
  let isWaiting = false;
  let sent = 0;
  const flood = (async () => {
    for (; sent < 100; sent++) {
      const notified = end.peer.notify("log", { text });
      isWaiting = true;
      await notified;
      isWaiting = false;
    }
  })();
  let before = -1;
  while (before < sent || !isWaiting) {
    before = sent;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  assert(sent < 20, `${sent} notifications were taken`);
  for (let i = 0; i < 100; i++) await end.receive();
  await flood;
});

test("a peer that floods malformed messages gets an answer to each", async () => {
  await using end = await RawEnd.open();
  const COUNT = 5000;
  const flood = (async () => {
    for (let i = 0; i < COUNT; i++) await end.lines.send("x");
  })();
  for (let i = 0; i < COUNT; i++) {
    assertEquals((await end.receive() as Answer).error?.code, -32700);
  }
  await flood;
  assertEquals(end.errors.length, COUNT);
});

test("deeply nested parameters do not end the connection", async () => {
  await using end = await RawEnd.open();
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  const { error } = await end.ask(
    `{"jsonrpc":"2.0","id":1,"method":"echo","params":${deep}}`,
  ) as Answer;
  assert(error === undefined || error.code === -32603 || error.code === -32700);
  assertEquals((await end.ask(request(2, "sum", [1])) as Answer).result, 1);
  await assertRejects(() => end.peer.call("x", [1n] as never), TypeError);
  assertEquals(RpcError.name, "RpcError");
});
