import { assert, assertEquals, assertInstanceOf, assertRejects } from "@std/assert";
import {
  CallInterrupted,
  connect,
  ConnectionClosed,
  isSocketError,
  pair,
  RpcError,
  serve,
  socketpair,
} from "@uds/uds";
import { rpc, RPC_CODES, type RpcContext, type RpcPeer } from "@uds/uds/rpc";
import {
  denoArgs,
  encode,
  fixture,
  KIB,
  MIB,
  TempDir,
  test,
  turn,
  untilFull,
} from "../_helpers.ts";
import { METHODS, RawEnd, twoPeers, waiting } from "./_rpc.ts";

test("a server that is killed interrupts a call, which was sent", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  await using program = fixture("rpc_server.ts", ["-A"], [path]);
  assertEquals(await program.line(), "ready");
  await using client = rpc(await connect(path));
  const call = client.call("wait");
  assertEquals(await program.line(), "waiting");
  program.kill("SIGKILL");
  const error = await assertRejects(() => call, CallInterrupted, "The method may have run");
  assertEquals([error.sent, error.method, error.path], [true, "wait", path]);
  assertEquals(error.operation, "call");
  assertInstanceOf(error, Deno.errors.ConnectionAborted);
  await client.closed;
  const later = await assertRejects(() => client.call("pid"), CallInterrupted, "was not sent");
  assertEquals(later.sent, false);
}, { deadline: 20_000 });

test("the signal of a method aborts when its caller is killed", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const { wait, started, aborted } = waiting();
  await using _server = await serve(path, (conn) => rpc(conn, { methods: { wait } }).closed);
  await using program = fixture("rpc_client.ts", ["-A"], [path]);
  await started;
  program.kill("SIGKILL");
  assertInstanceOf(await aborted, Error);
}, { deadline: 20_000 });

test("the signal of a method aborts when its caller, a child on a pair, is killed", async () => {
  const { wait, started, aborted } = waiting();
  await using child = await pair(Deno.execPath(), {
    args: denoArgs("rpc_client.ts", ["-A"], ["-"]),
  });
  const peer = rpc(child.conn, { methods: { wait } });
  await started;
  child.kill("SIGKILL");
  await aborted;
  await peer.closed;
}, { deadline: 20_000 });

test("a caller that leaves while nothing is read is noticed, and its requests do not run", async () => {
  const { wait, started, aborted } = waiting();
  let runs = 0;
  await using end = await RawEnd.open({
    maxConcurrent: 1,
    maxQueued: 1,
    methods: { wait, count: () => ++runs },
  });
  for (const [id, method] of ["wait", "count", "count", "count"].entries()) {
    await end.send(JSON.stringify({ jsonrpc: "2.0", id, method }));
  }
  await started;
  await end.lines.flush();
  end.conn.close();
  await aborted;
  await end.peer.closed;
});

test("all notifications of a peer that leaves are run", async () => {
  let count = 0;
  await using end = await RawEnd.open({
    maxConcurrent: 2,
    maxQueued: 10,
    methods: { log: () => Promise.resolve().then(() => count++) },
  });
  for (let i = 0; i < 1000; i++) await end.send('{"jsonrpc":"2.0","method":"log"}');
  await end.lines.flush();
  end.conn.close();
  await end.peer.closed;
  assertEquals(count, 1000);
});

test("close() within a method ends it all: what came with its request does not run", async () => {
  let runs = 0;
  await using end = await RawEnd.open({
    methods: { close: () => end.peer.close(), count: () => ++runs },
  });
  const request = (method: string) => `{"jsonrpc":"2.0","id":1,"method":"${method}"}\n`;
  await end.conn.write(encode(request("close") + request("count")));
  await end.peer.closed;
  assertEquals(runs, 0);
});

test("close() within a batch ends it all: the rest of the batch does not run", async () => {
  const ran: string[] = [];
  const note = (name: string) => () => void ran.push(name);
  const request = (method: string, id: number) => ({ jsonrpc: "2.0", id, method });
  const closings: [string, unknown][] = [
    ["a method", request("quit", 1)],
    ["onError, because of a malformed message", 7],
    ["onError, because of a method that fails", request("fail", 1)],
  ];
  for (const [closing, message] of closings) {
    const errors: unknown[] = [];
    await using end = await RawEnd.open({
      methods: {
        first: note("first"),
        quit: () => end.peer.close(),
        fail() {
          throw new Error("as asked");
        },
        work: note(closing),
      },
      onError(error) {
        errors.push(error);
        end.peer.close();
      },
    });
    const batch = [request("first", 0), message, request("work", 2), 8];
    await end.send(JSON.stringify(batch));
    await end.peer.closed;
    assertEquals(errors.length, closing === "a method" ? 0 : 1);
  }
  assertEquals(ran, ["first", "first", "first"]);
});

test("close() within a method aborts the signal of that method too", async () => {
  for (const isQueued of [false, true]) {
    const seen: unknown[] = [];
    const { promise: over, resolve } = Promise.withResolvers<void>();
    await using end = await RawEnd.open({
      maxConcurrent: 1,
      methods: {
        pause: () => new Promise((resolve) => setTimeout(resolve, 10)),
        async quit(_params: unknown, { signal }: RpcContext) {
          if (isQueued) seen.push(signal.aborted);
          end.peer.close();
          seen.push(signal.aborted);
          await end.peer.closed;
          seen.push(signal.reason instanceof ConnectionClosed);
          resolve();
        },
      },
    });
    const request = (method: string) => `{"jsonrpc":"2.0","method":"${method}"}\n`;
    await end.conn.write(encode((isQueued ? request("pause") : "") + request("quit")));
    await over;
    assertEquals(seen, isQueued ? [false, true, true] : [true, true]);
  }
});

test("calls that did not leave this process are interrupted as not sent", async () => {
  await using end = await RawEnd.open();
  const text = "x".repeat(1_000_000);
  const calls = [1, 2, 3].map((n) => end.peer.call("any", { n, text }));
  const settled = Promise.allSettled(calls);
  // The peer reads a part of the first call.
  await end.conn.read(new Uint8Array(1000));
  end.conn.close();
  const errors = (await settled).map((result) => result.status === "rejected" && result.reason);
  for (const error of errors) assertInstanceOf(error, CallInterrupted);
  assertEquals(errors.map(({ sent }) => sent), [true, false, false]);
  assert(errors[0].cause !== undefined);
});

test("a peer that ends its direction gets the answers to what it has asked", async () => {
  const gate = Promise.withResolvers<number>();
  await using end = await RawEnd.open({ maxConcurrent: 1, methods: { wait: () => gate.promise } });
  for (const id of [1, 2]) await end.send(`{"jsonrpc":"2.0","id":${id},"method":"wait"}`);
  await end.lines.closeWrite();
  // The peer reads the end of file first.
  await new Promise((resolve) => setTimeout(resolve, 50));
  gate.resolve(7);
  assertEquals(await end.receive(), { jsonrpc: "2.0", id: 1, result: 7 });
  assertEquals(await end.receive(), { jsonrpc: "2.0", id: 2, result: 7 });
  assertEquals(await end.receive(), undefined);
  await end.peer.closed;
});

test("the end of file within a message is reported", async () => {
  await using end = await RawEnd.open();
  await end.conn.write(new TextEncoder().encode('{"jsonrpc"'));
  end.conn.close();
  await end.peer.closed;
  assertEquals((end.errors[0] as Error).name, "TruncatedMessage");
});

test("close() rejects the calls that wait, and resolves closed", async () => {
  await using end = await RawEnd.open();
  const call = end.peer.call("any");
  await end.receive();
  end.peer.close();
  end.peer.close();
  await assertRejects(() => call, CallInterrupted);
  await end.peer.closed;
  await end.peer[Symbol.asyncDispose]();
  await assertRejects(() => end.peer.call("any"), CallInterrupted, "was not sent");
  const message = 'Cannot notify "any": this side has closed the connection';
  const refused = await assertRejects(() => end.peer.notify("any"), ConnectionClosed, message);
  assertEquals([refused.operation, refused.path], ["notify", null]);
  assertEquals(await end.receive(), undefined);
  assertEquals(end.errors, []);
});

test("a notification that the peer does not take any more rejects", async () => {
  await using end = await RawEnd.open();
  end.conn.close();
  await end.peer.closed;
  const error = await assertRejects(() => end.peer.notify("any"), Error, 'Cannot notify "any": ');
  assert(isSocketError(error));
  assertEquals([error.operation, isSocketError(error.cause)], ["notify", true]);
});

test("a notification that is not written when the peer leaves rejects", async () => {
  await using end = await RawEnd.open();
  const sent = end.peer.notify("any", { text: "x".repeat(2_000_000) });
  await end.conn.read(new Uint8Array(1000));
  end.conn.close();
  const error = await assertRejects(() => sent, Error, 'Cannot notify "any": ');
  assert(isSocketError(error));
  assertEquals(error.operation, "notify");
  // The peer has left without reading everything, which not every system distinguishes.
  assert(["EPIPE", "ECONNRESET"].includes(error.code ?? ""));
});

test("disposal waits for what was sent", async () => {
  const [a, b] = await socketpair();
  const seen: number[] = [];
  await using other = rpc(b, { methods: { log: ({ n }: { n: number }) => void seen.push(n) } });
  {
    await using peer = rpc(a);
    for (let n = 0; n < 1000; n++) peer.notify("log", { n, text: "x".repeat(1000) } as object);
  }
  await other.closed;
  assertEquals(seen.length, 1000);
});

test("a call that is not awaited does not end the process when it is interrupted", async () => {
  await using end = await RawEnd.open();
  end.peer.call("any");
  end.peer.call("any", {}, { timeout: 1 });
  await end.receive();
  end.conn.close();
  await end.peer.closed;
});

test("draining finishes what runs, refuses the rest with its code, and ends", async () => {
  const gate = Promise.withResolvers<string>();
  const draining = new AbortController();
  await using end = await RawEnd.open({
    draining: draining.signal,
    methods: { wait: () => gate.promise, ...METHODS },
  });
  const sum = '{"jsonrpc":"2.0","id":2,"method":"sum","params":[1]}';
  await end.send('{"jsonrpc":"2.0","id":1,"method":"wait"}');
  assertEquals(await end.ask(sum), { jsonrpc: "2.0", id: 2, result: 1 });
  draining.abort();
  const { id, error } = await end.ask(sum) as { id: number; error: { code: number } };
  assertEquals([id, error.code], [2, -32001]);
  gate.resolve("done");
  assertEquals(await end.receive(), { jsonrpc: "2.0", id: 1, result: "done" });
  assertEquals(await end.receive(), { jsonrpc: "2.0", method: "$/closing" });
  assertEquals(await end.receive(), undefined);
  await end.peer.closed;
  assertEquals(end.errors, []);
});

test("a peer that announces its end has not run the calls without an answer", async () => {
  await using end = await RawEnd.open();
  const calls = [end.peer.call("any"), end.peer.call("any")];
  const { id } = await end.receive() as { id: number };
  await end.send(JSON.stringify({ jsonrpc: "2.0", id, result: "done" }));
  await end.send('{"jsonrpc":"2.0","method":"$/closing"}');
  assertEquals(await calls[0], "done");
  const error = await assertRejects(() => calls[1]!, RpcError, "has not run the method");
  assertEquals([error.code, error.operation], [RPC_CODES.DRAINING, "call"]);
  const later = await assertRejects(() => end.peer.call("any"), CallInterrupted, "was not sent");
  assertEquals(later.sent, false);
  assertEquals(end.errors, []);
});

test("a shutdown that times out announces nothing: the call that runs is interrupted", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const { wait, started } = waiting();
  const server = await serve(
    path,
    (conn, { draining }) => rpc(conn, { draining, methods: { wait } }).closed,
  );
  await using client = rpc(await connect(path));
  const call = client.call("wait");
  await started;
  await server.shutdown({ timeout: 1 });
  const error = await assertRejects(() => call, CallInterrupted);
  assertEquals(error.sent, true);
});

test("draining waits for the answers to own calls", async () => {
  const draining = new AbortController();
  await using end = await RawEnd.open({ draining: draining.signal });
  const call = end.peer.call("any");
  const { id } = await end.receive() as { id: number };
  draining.abort();
  await end.send(JSON.stringify({ jsonrpc: "2.0", id, result: "late" }));
  assertEquals(await call, "late");
  assertEquals(await end.receive(), { jsonrpc: "2.0", method: "$/closing" });
  assertEquals(await end.receive(), undefined);
});

test("shutdown() of a server ends idle connections of calls, and refuses no call silently", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const server = await serve(
    path,
    (conn, { draining }) => rpc(conn, { draining, methods: METHODS }).closed,
  );
  const clients = await Promise.all(
    Array.from({ length: 5 }, async () => rpc(await connect(path))),
  );
  for (const client of clients) assertEquals(await client.call("sum", [1, 2]), 3);
  const { cutOff } = await server.shutdown() as { cutOff?: number };
  assertEquals(cutOff ?? 0, 0);
  for (const client of clients) {
    await client.closed;
    await assertRejects(() => client.call("sum", [1]), CallInterrupted);
  }
});

test("a peer that leaves while both call ends every call of both", async () => {
  const methods = { wait: () => new Promise(() => {}) };
  await using peers = await twoPeers({ methods }, { methods });
  const calls = [peers.a.call("wait"), peers.b.call("wait")];
  peers.a.close();
  for (const call of calls) await assertRejects(() => call, CallInterrupted);
  await peers.b.closed;
});

test("a disposal rejects with a large notification that could not be written", async () => {
  const [a, b] = await socketpair();
  using _silent = b;
  a.write(new Uint8Array(MIB)).catch(() => {});
  await untilFull(a);
  const peer = rpc(a);
  await peer.notify("note", { text: "x".repeat(20 * KIB) });
  const failure = await assertRejects(() => peer[Symbol.asyncDispose](), Deno.errors.TimedOut);
  const { unsent } = failure as { unsent?: Uint8Array };
  assert(unsent!.length > 20 * KIB, `${unsent?.length}`);
});

const METHODS_OF_A_HANDLER = { add: ([a, b]: [number, number]) => a + b };

test("a handler that returns without awaiting its peer is reported once for each server", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const errors: unknown[] = [];
  const onError = (error: unknown) => void errors.push(error);
  await using server = await serve({ path, onError }, async (conn, { draining }) => {
    await Promise.resolve();
    rpc(conn, { methods: METHODS_OF_A_HANDLER, draining });
  });
  for (let i = 0; i < 2; i++) {
    await using client = rpc(await connect(path));
    await assertRejects(() => client.call("add", [1, 2]), CallInterrupted);
  }
  while (server.connections > 0 || errors.length === 0) await turn();
  assertEquals(errors.map(String), [
    `ConnectionClosed: Cannot read from a client of ${JSON.stringify(path)}: its handler has ` +
    `returned without awaiting this. Use "await peer.closed" after rpc()`,
  ]);
  assertInstanceOf(errors[0], ConnectionClosed);
  assertEquals([errors[0].operation, errors[0].path], ["read", path]);
});

const NOT_A_SLIP: Record<string, (peer: RpcPeer) => Promise<unknown>> = {
  "has closed its peer": async (peer) => {
    await peer.call("add", [1, 2]);
    peer.close();
  },
  "has disposed of its peer": async (peer) => {
    await using used = peer;
    await used.call("add", [1, 2]);
  },
  "awaits its peer": (peer) => peer.call("add", [1, 2]).then(() => peer.closed),
  "has failed": () => Promise.reject(new Error("it failed")),
};

for (const [what, use] of Object.entries(NOT_A_SLIP)) {
  test(`a handler that ${what} is not reported for its return`, async () => {
    await using dir = new TempDir();
    const path = dir.file("s.sock");
    const errors: unknown[] = [];
    const onError = (error: unknown) => void errors.push(error);
    await using server = await serve(
      { path, onError },
      (conn) => use(rpc(conn, { methods: METHODS_OF_A_HANDLER })) as Promise<void>,
    );
    const client = rpc(await connect(path), { methods: METHODS_OF_A_HANDLER });
    await client.call("add", [3, 4]).catch(() => {});
    client.close();
    while (server.connections > 0) await turn();
    await turn();
    assertEquals(errors.map(String), what === "has failed" ? ["Error: it failed"] : []);
  });
}

test("a handler that returns after its own calls, without methods, is not reported", async () => {
  await using dir = new TempDir();
  const path = dir.file("s.sock");
  const errors: unknown[] = [];
  const onError = (error: unknown) => void errors.push(error);
  await using server = await serve({ path, onError }, async (conn) => {
    assertEquals(await rpc(conn).call("add", [1, 2]), 3);
  });
  const client = rpc(await connect(path), { methods: METHODS_OF_A_HANDLER });
  await client.closed;
  while (server.connections > 0) await turn();
  await turn();
  assertEquals(errors, []);
});
