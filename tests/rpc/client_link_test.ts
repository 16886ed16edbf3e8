import {
  CallInterrupted,
  ConnectionClosed,
  ConnectTimeout,
  json,
  lines,
  listen,
  MessageTooLarge,
  RpcError,
  serve,
} from "@uds/uds";
import { closeRead } from "@uds/uds/native";
import { rpc, RPC_CODES, rpcClient, type RpcPeer } from "@uds/uds/rpc";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
// Opens libc, which stays open.
import "../native/_libc.ts";
import { gate, isPending, KIB, TempDir, test, turn } from "../_helpers.ts";
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

/** What the first connection meets while `onConnect` runs. */
const ENDS_WHILE_CONNECTING: Record<string, {
  serve: (peer: RpcPeer) => void;
  onConnect: (peer: RpcPeer<Noted>) => void | Promise<void>;
}> = {
  "the server closes": {
    serve: (peer) => void setTimeout(() => peer.close(), 5),
    onConnect: (peer) => peer.closed,
  },
  "the server announces that it closes": {
    serve: (peer) => void peer.notify("$/closing").then(() => peer.notify("ready")),
    onConnect: () => {},
  },
  "the server closes, which a notification meets,": {
    serve: (peer) => void setTimeout(() => peer.close(), 5),
    onConnect: (peer) => peer.closed.then(() => peer.notify("note", { i: -1 })),
  },
  "onConnect closes": { serve() {}, onConnect: (peer) => peer.close() },
};

interface Noted {
  note(params: { i: number }): void;
  add(numbers: [number, number]): number;
}

for (const [end, { serve: serveFirst, onConnect }] of Object.entries(ENDS_WHILE_CONNECTING)) {
  test(`if ${end} during onConnect, notifications and calls go to the next connection`, async () => {
    await using dir = new TempDir();
    const path = dir.file("a.sock");
    let connections = 0;
    const noted: unknown[] = [];
    await using _server = await serve(path, (conn) => {
      const number = ++connections;
      const peer: RpcPeer = rpc(conn, {
        methods: {
          note: ({ i }: { i: number }) => void noted.push([number, i]),
          add: ([a, b]: [number, number]) => a + b,
        },
      });
      if (number === 1) serveFirst(peer);
      return peer.closed;
    });
    const ready = gate();
    let connects = 0;
    await using client = rpcClient<Noted>({
      path,
      methods: { ready: () => ready.open() },
      async onConnect(peer) {
        if (++connects > 1) return;
        if (end.includes("announces")) await ready.opened;
        await onConnect(peer);
      },
    });
    await Promise.all([0, 1, 2].map((i) => client.notify("note", { i })));
    assertEquals(await client.call("add", [1, 2]), 3);
    assertEquals(noted, [[2, 0], [2, 1], [2, 2]]);
    assertEquals([connections, connects], [2, 2]);
  });
}

test("an onConnect that always closes is called with growing pauses, until connectTimeout", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  await using api = await startApi(path);
  await using client = rpcClient<Api>({
    path,
    // On a busy machine there are several connections in this time, too.
    connectTimeout: 600,
    onConnect: (peer) => peer.close(),
  });
  for (const send of [() => client.notify("add", [1, 2]), () => client.call("add", [1, 2])]) {
    const before = api.connections();
    assertInstanceOf(await failure(send()), ConnectTimeout);
    const connections = api.connections() - before;
    assert(connections < 12, `${connections} connections`);
    assert(before > 0 || connections >= 3, `${connections} connections`);
  }
  const before = api.connections();
  await new Promise((resolve) => setTimeout(resolve, 50));
  assertEquals(api.connections(), before);
});

test("a notification goes to the next connection if the server has announced that it closes", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  const peers: RpcPeer[] = [];
  const noted = gate<number>();
  await using _server = await serve(path, (conn) => {
    const number = peers.length + 1;
    const methods = {
      note: () => noted.open(number),
      add: ([a, b]: [number, number]) => a + b,
    };
    const peer: RpcPeer = rpc(conn, { methods });
    peers.push(peer);
    return peer.closed;
  });
  const announced = gate();
  const methods = { announced: () => announced.open() };
  await using client = rpcClient<Noted>({ path, methods });
  assertEquals(await client.call("add", [1, 2]), 3);
  await peers[0]!.notify("$/closing");
  await peers[0]!.notify("announced");
  await announced.opened;
  await client.notify("note", { i: 1 });
  assertEquals(await noted.opened, 2);
  await peers[0]!.closed;
});

test("after a notification that the server does not take, the next one connects again", async () => {
  await using dir = new TempDir();
  const path = dir.file("a.sock");
  let connections = 0;
  const refuses = gate();
  const noted = gate();
  await using _server = await serve(path, async (conn) => {
    if (++connections > 1) return rpc(conn, { methods: { note: () => noted.open() } }).closed;
    await conn.read(new Uint8Array(100));
    closeRead(conn);
    refuses.open();
    await conn.closed;
  });
  const codec = json(lines({ maxBytes: KIB }));
  await using client = rpcClient<Noted & { text(params: string[]): void }>({ path, codec });
  await client.notify("note", { i: 0 });
  await refuses.opened;
  const large = client.notify("text", ["x".repeat(2 * KIB)]);
  assertInstanceOf(await failure(large), MessageTooLarge);
  assertEquals(connections, 1);
  // A small one is written after its promise has resolved.
  await assertRejects(async () => {
    for (;; await turn()) await client.notify("note", { i: 1 });
  }, Deno.errors.BrokenPipe);
  await client.notify("note", { i: 2 });
  await noted.opened;
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
