import {
  CallInterrupted,
  ConnectionClosed,
  ConnectTimeout,
  listen,
  RpcError,
  serve,
} from "@uds/uds";
import { rpc, RPC_CODES, rpcClient, type RpcPeer } from "@uds/uds/rpc";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import { gate, isPending, TempDir, test } from "../_helpers.ts";
import { type Api, failure, startApi } from "./_client.ts";

test("calls that a draining server refuses go to the next one, and those that run are finished", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const draining = new AbortController();
  const held = gate();
  const released = gate();
  const old = gate();
  let connections = 0;
  await using _server = await serve(path, async (conn) => {
    const number = ++connections;
    const methods = {
      async hold([id]: [string]) {
        if (number > 1) return `${id} on ${number}`;
        held.open();
        await released.opened;
        return `${id} on 1`;
      },
    };
    await rpc(conn, number > 1 ? { methods } : { methods, draining: draining.signal }).closed;
    if (number === 1) old.open();
  });
  await using client = rpcClient<Api>(path);
  const running = client.call("hold", ["a"]);
  await held.opened;
  draining.abort();
  const moved = ["b", "c"].map((id) => client.call("hold", [id]));
  assertEquals(await Promise.all(moved), ["b on 2", "c on 2"]);
  assert(await isPending(running));
  released.open();
  assertEquals(await running, "a on 1");
  await old.opened;
  assertEquals(await client.call("hold", ["d"]), "d on 2");
});

test("rpcClient() closes its connection to a draining server with its last call", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const closed = gate();
  const draining = new AbortController();
  // A server that refuses, and never closes.
  await using _server = await serve(path, async (conn) => {
    if (draining.signal.aborted) return rpc(conn, { methods: { add: () => 0 } }).closed;
    draining.abort();
    await rpc(conn, {
      methods: {
        add() {
          throw new RpcError("draining", { code: RPC_CODES.DRAINING });
        },
      },
    }).closed;
    closed.open();
  });
  await using client = rpcClient<Api>(path);
  assertEquals(await client.call("add", [1, 2]), 0);
  await closed.opened;
});

test("a server that closes every connection is tried with growing pauses", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  let connections = 0;
  await using _server = await serve(path, (conn) => {
    connections++;
    conn.close();
    return conn.closed;
  });
  await using client = rpcClient<Api>({ path, idempotent: ["add"], connectTimeout: 300 });
  const error = await failure(client.call("add", [1, 2]));
  assertInstanceOf(error, ConnectTimeout);
  assertStringIncludes(error.message, "no connection within 300 ms");
  // 2, 4, 8 … ms, each shortened by up to a half: 7 to 9 in 300 ms.
  assert(connections >= 3 && connections < 12, `${connections} connections`);
});

test("close() rejects what waits and what is in flight, and refuses further calls", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const waiting = rpcClient<Api>(path);
  const call = waiting.call("add", [1, 2]);
  waiting.close();
  assertInstanceOf(await failure(call), ConnectionClosed);

  await using api = await startApi(path);
  const client = rpcClient<Api>({ path, idempotent: ["hold"] });
  const held = api.nextHold();
  const running = client.call("hold", ["a"]);
  await held;
  client.close();
  assertInstanceOf(await failure(running), CallInterrupted);
  for (let i = 0; i < 2; i++) {
    assertInstanceOf(await failure(client.call("add", [1, 2])), ConnectionClosed);
    assertInstanceOf(await failure(client.notify("add", [1, 2])), ConnectionClosed);
    client.close();
    await client[Symbol.asyncDispose]();
  }
});

test("close() while connecting leaves no connection", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using listener = await listen(path);
  const client = rpcClient<Api>(path);
  const call = client.call("add", [1, 2]);
  client.close();
  assertInstanceOf(await failure(call), ConnectionClosed);
  // If a connection was made, it ends.
  const next = rpcClient<Api>(path);
  const pending = failure(next.call("add", [1, 2]));
  using conn = await listener.accept();
  next.close();
  await pending;
  while (await conn.read(new Uint8Array(100)) !== null);
});

test("disposal of rpcClient() sends what is waiting to be written", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const noted = gate<string>();
  await using _server = await serve(
    path,
    (conn) => rpc(conn, { methods: { note: ([text]: [string]) => noted.open(text) } }).closed,
  );
  {
    await using client = rpcClient<{ note(text: [string]): void }>(path);
    await client.notify("note", ["last"]);
  }
  assertEquals(await noted.opened, "last");
});

test("the server calls methods of the client, on each of its connections", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  interface Remote {
    ask(): string;
    end(): void;
  }
  await using _server = await serve(path, (conn) => {
    const peer: RpcPeer<{ name(): string }> = rpc(conn, {
      methods: {
        async ask() {
          return `hello ${await peer.call("name")}`;
        },
        end: () => peer.close(),
      },
    });
    return peer.closed;
  });
  let asked = 0;
  await using client = rpcClient<Remote>({
    path,
    methods: { name: () => `client ${++asked}` },
  });
  assertEquals(await client.call("ask"), "hello client 1");
  assertInstanceOf(await failure(client.call("end")), CallInterrupted);
  assertEquals(await client.call("ask"), "hello client 2");
});

test("onConnect is called with each connection, before the calls that wait", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const seen: string[] = [];
  interface Remote {
    logIn(name: [string]): void;
    ask(): string;
    end(): void;
  }
  await using _server = await serve(path, (conn) => {
    let user = "nobody";
    const peer: RpcPeer = rpc(conn, {
      methods: {
        logIn([name]: [string]) {
          seen.push(`logIn ${name}`);
          user = name;
        },
        ask: () => user,
        end: () => peer.close(),
      },
    });
    return peer.closed;
  });
  await using client = rpcClient<Remote>({
    path,
    onConnect: (peer) => peer.call("logIn", ["ada"]),
  });
  assertEquals(await client.call("ask"), "ada");
  assertInstanceOf(await failure(client.call("end")), CallInterrupted);
  assertEquals(await client.call("ask"), "ada");
  assertEquals(seen, ["logIn ada", "logIn ada"]);
});

test("what onConnect throws rejects the calls that wait, and the next call tries again", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using api = await startApi(path);
  let tries = 0;
  await using client = rpcClient<Api>({
    path,
    async onConnect(peer) {
      if (++tries === 1) await peer.call("fail");
    },
  });
  const calls = [client.call("add", [1, 2]), client.call("add", [3, 4])];
  for (const call of calls) await assertRejects(() => call, RpcError, "as asked");
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(api.connections(), 2);
});

test("onConnect that meets a draining server is called again on the next connection", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  let connections = 0;
  await using _server = await serve(path, (conn) => {
    const options = { methods: { add: ([a, b]: [number, number]) => a + b } };
    const isFirst = ++connections === 1;
    return rpc(conn, isFirst ? { ...options, draining: AbortSignal.abort() } : options).closed;
  });
  await using client = rpcClient<Api>({
    path,
    onConnect: async (peer) => void await peer.call("add", [0, 0]),
  });
  assertEquals(await client.call("add", [1, 2]), 3);
  assertEquals(connections, 2);
});

test("at most maxCalls calls wait for a connection", async () => {
  await using dir = new TempDir();
  await using client = rpcClient<Api>({ path: dir.file("a.sock"), maxCalls: 2 });
  const waiting = [1, 2].map((n) => client.call("add", [n, n]));
  assertInstanceOf(await failure(client.call("add", [3, 3])), Deno.errors.Busy);
  client.close();
  await Promise.allSettled(waiting);
});

test("a rejection of rpcClient() that is not awaited does not end the process", async () => {
  await using dir = new TempDir();
  await using client = rpcClient<Api>({ path: dir.file("a.sock"), connectTimeout: 10 });
  client.call("add", [1, 2]);
  await failure(client.call("add", [1, 2]));
});
